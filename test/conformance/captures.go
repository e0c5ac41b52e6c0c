// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// captureFiles are requests as clients were seen to send them, in our own form: what differs from run to run is a variable,
// and of the answer there stands what the client needs of it.
//
//go:embed testdata/captures/*.json
var captureFiles embed.FS

// A trace is a sequence of requests of one client.
type trace struct {
	Client  string `json:"client"`
	Command string `json:"command"`
	Steps   []step `json:"steps"`
}

// A step is one request and what its answer has to have. Paths are those of field; in XML, lists are without "member".
type step struct {
	ID      string            `json:"id,omitempty"`    // of a row, where each step is one
	Title   string            `json:"title,omitempty"` // of a row
	Service string            `json:"service"`
	Method  string            `json:"method,omitempty"` // POST when it is a form
	Path    string            `json:"path,omitempty"`   // escaped
	Query   string            `json:"query,omitempty"`
	Body    any               `json:"body,omitempty"`
	Form    map[string]string `json:"form,omitempty"`
	Status  int               `json:"status,omitempty"` // 200 when it is not given
	Code    string            `json:"code,omitempty"`   // of an error
	Needs   []string          `json:"needs,omitempty"`  // members that have to have a value
	Without []string          `json:"without,omitempty"`
	Equals  map[string]any    `json:"equals,omitempty"`
	Keep    map[string]string `json:"keep,omitempty"` // variables for later steps
}

func (st step) operation() string {
	if action := st.Form["Action"]; action != "" {
		return action
	}
	return st.Method + " " + st.Path
}

func readTrace(name string) (trace, error) {
	text, err := captureFiles.ReadFile(path.Join("testdata/captures", name+".json"))
	if err != nil {
		return trace{}, err
	}
	var t trace
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return t, fmt.Errorf("read capture %s: %w", name, err)
	}
	return t, nil
}

// variables are those of the session's replays: account, region and the suite's names, and what steps kept.
func (s *session) variables() map[string]string {
	if v, ok := s.made["variables"].(map[string]string); ok {
		return v
	}
	v := map[string]string{"account": s.bed.account, "region": s.bed.region, "cluster": clusterName}
	s.made["variables"] = v
	return v
}

var variable = regexp.MustCompile(`\$\{([A-Za-z]+)\}`)

// expand puts variables into a text: ${name}. CloudFormation's own, ${AWS::…}, and those that nothing kept stay.
func expand(text string, variables map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(found string) string {
		if v, ok := variables[found[2:len(found)-1]]; ok {
			return v
		}
		return found
	})
}

// replay sends all steps of a trace.
func (s *session) replay(ctx context.Context, name string) error {
	t, err := readTrace(name)
	if err != nil {
		return err
	}
	for i, st := range t.Steps {
		if err := s.replayStep(ctx, st); err != nil {
			return fmt.Errorf("request %d, %s: %w", i+1, expand(st.operation(), s.variables()), err)
		}
	}
	return nil
}

// replayStep sends one request and compares the answer.
func (s *session) replayStep(ctx context.Context, st step) error {
	e, err := s.send(ctx, st)
	if err != nil {
		return err
	}
	answer, err := readAnswer(e)
	if err != nil {
		return err
	}
	status := st.Status
	if status == 0 {
		status = http.StatusOK
	}
	switch code := e.code(); {
	case code != st.Code && slices.Contains([]string{"InvalidAction", "UnknownOperationException"}, code):
		return fmt.Errorf("%w: %s", errAbsent, tail(e.Answer, 300))
	case e.Status != status || code != st.Code:
		return fmt.Errorf("answered with %d %s %s, want %d %s", e.Status, code, tail(e.Answer, 600), status, st.Code)
	}
	for _, path := range st.Needs {
		if same(field(answer, path), nil) || field(answer, path) == "" {
			return fmt.Errorf("the answer has no %s: %s", path, tail(e.Answer, 600))
		}
	}
	for _, path := range st.Without {
		if field(answer, path) != nil {
			return fmt.Errorf("the answer has %s: %s", path, tail(e.Answer, 600))
		}
	}
	for path, v := range st.Equals {
		if text, ok := v.(string); ok {
			v = expand(text, s.variables())
		}
		if err := want(answer, M{path: v}); err != nil {
			return err
		}
	}
	for name, path := range st.Keep {
		s.variables()[name] = fmt.Sprint(field(answer, path))
	}
	return nil
}

// send signs a step's request as the admin and sends it by the witness.
func (s *session) send(ctx context.Context, st step) (exchange, error) {
	variables := s.variables()
	var body string
	contentType, method, at := "application/json", st.Method, st.Path
	switch {
	case st.Form != nil:
		form := url.Values{}
		for k, v := range st.Form {
			form.Set(k, expand(v, variables))
		}
		body, contentType, method, at = form.Encode(), "application/x-www-form-urlencoded; charset=utf-8", http.MethodPost, "/"
	case st.Body != nil:
		body = expand(toJSON(st.Body), variables)
	}
	target := s.witness.url + expand(at, variables)
	if st.Query != "" {
		target += "?" + expand(st.Query, variables)
	}
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return exchange{}, err
	}
	r.Header.Set("Content-Type", contentType)
	sum := sha256.Sum256([]byte(body))
	admin := aws.Credentials{AccessKeyID: s.bed.env["AWS_ACCESS_KEY_ID"], SecretAccessKey: s.bed.env["AWS_SECRET_ACCESS_KEY"]}
	if err := v4.NewSigner().SignHTTP(ctx, admin, r, hex.EncodeToString(sum[:]), st.Service, s.bed.region, time.Now()); err != nil {
		return exchange{}, err
	}
	answer, err := s.bed.client().Do(r)
	if err != nil {
		return exchange{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return exchange{Status: answer.StatusCode, Answer: string(text), Reply: answer.Header}, err
}

// readAnswer reads JSON, or XML as the SDKs see it: the result without its wrappings, "member" as lists.
func readAnswer(e exchange) (M, error) {
	if e.Answer == "" {
		return M{}, nil
	}
	if !strings.HasPrefix(e.Answer, "<") {
		var m M
		err := decode([]byte(e.Answer), &m)
		return m, err
	}
	dec := xml.NewDecoder(strings.NewReader(e.Answer))
	for {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", tail(e.Answer, 200), err)
		}
		if start, ok := t.(xml.StartElement); ok {
			v, err := readElement(dec)
			if err != nil {
				return nil, err
			}
			m, _ := v.(M)
			if result, ok := m[strings.TrimSuffix(start.Name.Local, "Response")+"Result"].(M); ok {
				return result, nil
			}
			return m, nil
		}
	}
}

// readElement reads up to the end of the element that was begun.
func readElement(dec *xml.Decoder) (any, error) {
	var text strings.Builder
	var members []any
	m := M{}
	for {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.StartElement:
			v, err := readElement(dec)
			if err != nil {
				return nil, err
			}
			if t.Name.Local == "member" {
				members = append(members, v)
			} else {
				m[t.Name.Local] = v
			}
		case xml.EndElement:
			switch {
			case members != nil:
				return members, nil
			case len(m) > 0:
				return m, nil
			}
			return strings.TrimSpace(text.String()), nil
		}
	}
}

// captureRows are single requests of the AWS CLI, each a row of its own.
func captureRows() section {
	sec := section{
		ID: "captures", Title: "Requests of the AWS CLI, as they were captured", Clients: []string{"captures"},
		Note: "Sent in this order to one cluster; roles that they name are made before.",
	}
	t, err := readTrace("aws-cli")
	if err != nil {
		sec.Rows = []row{{"capture-files", "the captures can be read", func(context.Context, *session) error { return err }}}
		return sec
	}
	for _, st := range t.Steps {
		sec.Rows = append(sec.Rows, row{st.ID, st.Title, func(ctx context.Context, s *session) error {
			if err := s.captureRoles(ctx); err != nil {
				return err
			}
			return s.replayStep(ctx, st)
		}})
	}
	return sec
}

// captureRoles makes what captured requests take for granted.
func (s *session) captureRoles(ctx context.Context) error {
	_, err := once(s, "capture roles", func() (bool, error) {
		for _, name := range []string{"capture-role", "capture-other"} {
			form := map[string]string{"Action": "CreateRole", "Version": "2010-05-08", "RoleName": name, "AssumeRolePolicyDocument": toJSON(M{
				"Version": "2012-10-17", "Statement": []M{
					{"Effect": "Allow", "Principal": M{"Service": "pods.eks.amazonaws.com"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}},
					{"Effect": "Allow", "Principal": M{"AWS": s.bed.account}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}},
				},
			})}
			if err := s.replayStep(ctx, step{Service: "iam", Form: form}); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err == nil {
		if _, ok := s.variables()["token"]; !ok {
			var token string
			token, err = s.bed.podid(ctx, "create", "token", "--cluster", clusterName, "--namespace", "capture-ns", "--service-account-name", "capture-sa")
			s.variables()["token"] = strings.TrimSpace(token)
		}
	}
	return err
}
