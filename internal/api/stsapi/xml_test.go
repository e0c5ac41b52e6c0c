// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stsapi

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/audit"
)

type recorder struct{}

func (recorder) Ready() error                               { return nil }
func (recorder) Record(context.Context, *audit.Event) error { return nil }

// What writes its own members writes those that encoding/xml would.
func TestAppendXML(t *testing.T) {
	type plainAssumed assumed
	type plainIdentity callerIdentity
	full := assumed{
		"sub", "aud",
		assumedRoleUser{"AROA1:s", "arn:aws:sts::111122223333:assumed-role/app/s"},
		credentials{"ASIA1", "top+secret/key", "to+ken=", awsquery.Timestamp(time.Unix(1_700_000_000, 5))},
		`<https://idp.example/"é"&>`, "jane'\x01",
		tokenSizes{58, 580, 14},
	}
	least := assumed{}
	who := callerIdentity{"arn", "id&", "111122223333"}
	for name, c := range map[string]struct{ fast, plain any }{
		"all":   {&full, (*plainAssumed)(&full)},
		"least": {&least, (*plainAssumed)(&least)},
		"who":   {&who, (*plainIdentity)(&who)},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := answer(t, c.fast), answer(t, c.plain); got != want {
				t.Errorf("answer\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// answer is the whole body that a service gives for a result.
func answer(t *testing.T, result any) string {
	t.Helper()
	h := awsquery.New(&call.Gate{
		Audit: recorder{}, Log: slog.New(slog.DiscardHandler), Now: time.Now, MaxBody: 4096,
		Observed: func(call.Operation, string, int, time.Duration) {},
	}, awsquery.Service{
		Name: "sts", Version: "1", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Operations: []awsquery.Operation{{
			Operation: call.Operation{Service: "sts", Name: "AssumeRole", Action: "none", Anonymous: true, ReadOnly: true},
			Handle:    func(context.Context, *call.Call, *awsquery.Form) (any, error) { return result, nil },
		}},
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("Action=AssumeRole&Version=1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if h.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	body := w.Body.String()
	dec := xml.NewDecoder(strings.NewReader(body))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, body)
		}
	}
	before, rest, _ := strings.Cut(body, "<RequestId>")
	_, after, _ := strings.Cut(rest, "</RequestId>")
	return before + after
}
