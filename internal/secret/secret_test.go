// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"podid/internal/secret"
)

const value = "wJalrXUtnFEMI/K7MDENG"

func TestNothingPrints(t *testing.T) {
	type outer struct{ Key secret.String }
	type inner struct{ key secret.String }
	s := secret.New(value)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "struct", outer{s}, "inner", inner{s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "struct", outer{s}, "pointer", &s)
	j, err := json.Marshal(map[string]any{"a": s, "b": &s, "c": outer{s}, "d": []secret.String{s}})
	if err != nil {
		t.Fatal(err)
	}
	x, err := xml.Marshal(outer{s})
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{log.String(), string(j), string(x), fmt.Sprint(s, &s), fmt.Errorf("e: %v", s).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		// A private field is printed without asking the value's methods.
		printed = append(printed, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, outer{s}), fmt.Sprintf(verb, inner{s}), fmt.Sprintf(verb, &inner{s}))
	}
	for _, p := range printed {
		if strings.Contains(p, value) || strings.Contains(p, fmt.Sprintf("%x", value)) {
			t.Errorf("the secret is printed: %s", p)
		}
	}
}

func TestValue(t *testing.T) {
	s := secret.New(value)
	if s.Reveal() != value || s.IsZero() || !s.Equal(value) || s.Equal(value+"x") || s.Equal("") {
		t.Error("the value is not kept")
	}
	for _, zero := range []secret.String{{}, secret.New("")} {
		if !zero.IsZero() || zero.Reveal() != "" || zero.Equal(value) || zero.String() != "[secret]" {
			t.Errorf("zero value: %v", zero)
		}
	}
}
