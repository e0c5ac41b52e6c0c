// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A session plays rows as one client. What a row made, later rows of the client find in it.
type session struct {
	bed     *bed
	player  *player
	witness *witness // before podid
	admin   caller
	tag     string // in all names that this session makes: no other client and no other run has used it
	made    map[string]any
	closers []func() error
}

func newTag(prefix string) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return prefix + "-" + hex.EncodeToString(b[:])
}

// name is a name of this session's own.
func (s *session) name(what string) string { return s.tag + "-" + what }

func (s *session) clusterARN() string {
	return fmt.Sprintf("arn:aws:eks:%s:%s:cluster/%s", s.bed.region, s.bed.account, clusterName)
}

func (s *session) roleARN(name string) string {
	return fmt.Sprintf("arn:aws:iam::%s:role/%s", s.bed.account, name)
}

// once makes something when a row first asks for it.
func once[T any](s *session, key string, build func() (T, error)) (T, error) {
	if v, ok := s.made[key].(T); ok {
		return v, nil
	}
	v, err := build()
	if err == nil {
		s.made[key] = v
	}
	return v, err
}

// do makes a call as the admin. One attempt: a refusal is an answer, and a retried one hides it.
func (s *session) do(ctx context.Context, service, operation string, input M) (M, error) {
	return s.doAs(ctx, s.admin, service, operation, input)
}

func (s *session) doAs(ctx context.Context, who caller, service, operation string, input M) (M, error) {
	out, err := who.call(ctx, request{Service: service, Operation: operation, Input: input, Attempts: 1})
	return out, classify(err)
}

// errAbsent marks what is not there: an operation that podid does not serve, or that the client does not know.
var errAbsent = errors.New("absent")

// classify tells a refusal from an operation that is not there.
func classify(err error) error {
	if r := (*refusal)(nil); errors.As(err, &r) && slices.Contains([]string{lacking, "InvalidAction", "UnknownOperationException", "UnknownOperation"}, r.Code) {
		return fmt.Errorf("%w: %s", errAbsent, r.Message)
	}
	return err
}

// refused makes a call that has to be refused: with this code, HTTP status and, when there is one, text.
func (s *session) refused(ctx context.Context, service, operation string, input M, code string, status int, text string) error {
	return s.refusedAs(ctx, s.admin, service, operation, input, code, status, text)
}

func (s *session) refusedAs(ctx context.Context, who caller, service, operation string, input M, code string, status int, text string) error {
	s.witness.reset()
	out, err := s.doAs(ctx, who, service, operation, input)
	if err == nil {
		return fmt.Errorf("%s was not refused: %s", operation, tail(toJSON(out), 300))
	}
	got := (*refusal)(nil)
	if !errors.As(err, &got) {
		return err
	}
	last := s.witness.last()
	plain := func(code string) string { return strings.TrimSuffix(code, "Exception") } // as the SDK for JavaScript has it everywhere
	switch {
	case plain(got.Code) != plain(code) || last.code() != code:
		return fmt.Errorf("%s: code %q, on the wire %q (%s), want %q", operation, got.Code, last.code(), got.Message, code)
	case got.Status != 0 && got.Status != status, last.Status != status:
		return fmt.Errorf("%s: status %d, on the wire %d, want %d", operation, got.Status, last.Status, status)
	case !strings.Contains(got.Message, text):
		return fmt.Errorf("%s: text %q, want %q in it", operation, got.Message, text)
	case got.Typed != "" && plain(got.Typed) != plain(code):
		return fmt.Errorf("%s: the client made a %s of %s", operation, got.Typed, code)
	case last.Reply.Get("X-Amzn-RequestId") == "":
		return fmt.Errorf("%s: the refusal has no request id", operation)
	}
	return nil
}

// field finds a member by its path, whatever the case of letters: "association.tags.team", "pages.0.associations".
func field(in any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch v := in.(type) {
		case M:
			in = nil
			for k, member := range v {
				if strings.EqualFold(k, part) {
					in = member
				}
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			in = v[i]
		default:
			return nil
		}
	}
	return in
}

func text(in any, path string) string {
	v, _ := field(in, path).(string)
	return v
}

func list(in any, path string) []any {
	v, _ := field(in, path).([]any)
	return v
}

// want compares members with what they have to be; nil means absent, or null.
func want(in M, members M) error {
	for path, v := range members {
		if got := field(in, path); !same(got, v) {
			return fmt.Errorf("%s is %s, want %s", path, toJSON(got), toJSON(v))
		}
	}
	return nil
}

// same compares as JSON does; SDKs show an empty map or list as null.
func same(got, want any) bool {
	if g, w := reflect.ValueOf(got), reflect.ValueOf(want); !w.IsValid() || !g.IsValid() || hollow(g) || hollow(w) {
		return (!w.IsValid() || hollow(w)) && (!g.IsValid() || hollow(g))
	}
	return toJSON(got) == toJSON(want)
}

func hollow(v reflect.Value) bool {
	return (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0
}

// moment reads a time as clients show it: a text of ISO 8601, or the number of the wire.
func moment(in any) (time.Time, error) {
	switch v := in.(type) {
	case float64:
		return time.UnixMilli(int64(v * 1000)), nil
	case string:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700"} {
			if t, err := time.Parse(layout, v); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%s is no time", toJSON(in))
}

// recent reports a time that is not of this run.
func recent(in any) error {
	t, err := moment(in)
	if err != nil {
		return err
	}
	if d := time.Since(t); d < -time.Minute || d > time.Hour {
		return fmt.Errorf("%s is not now", t)
	}
	return nil
}

// with copies an input and changes it.
func with(in, more M) M {
	out := M{}
	for _, m := range []M{in, more} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// podTrust is the trust policy of the EKS User Guide.
func (s *session) podTrust() string {
	return toJSON(M{"Version": "2012-10-17", "Statement": []M{{
		"Effect": "Allow", "Principal": M{"Service": "pods.eks.amazonaws.com"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": M{"StringEquals": M{"aws:SourceAccount": s.bed.account}, "ArnEquals": M{"aws:SourceArn": s.clusterARN()}},
	}}})
}

// trustOf is a trust policy that lets a principal do an action.
func trustOf(principal M, actions ...string) string {
	return toJSON(M{"Version": "2012-10-17", "Statement": []M{{"Effect": "Allow", "Principal": principal, "Action": actions}}})
}

// role makes a role of this session's, once.
func (s *session) role(ctx context.Context, what, trust string) (arn string, err error) {
	return once(s, "role "+what, func() (string, error) {
		out, err := s.do(ctx, "iam", "CreateRole", M{"RoleName": s.name(what), "AssumeRolePolicyDocument": trust})
		return text(out, "Role.Arn"), err
	})
}

// podRole is the role that most associations of this session have.
func (s *session) podRole(ctx context.Context) (string, error) {
	return s.role(ctx, "pod", s.podTrust())
}

// as makes a caller of this client with other credentials.
func (s *session) as(ctx context.Context, id, secret, token string) (caller, error) {
	env := append(s.bed.plainEnv(), s.bed.endpointEnv(s.witness.url)...)
	env = append(env, "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret)
	if token != "" {
		env = append(env, "AWS_SESSION_TOKEN="+token)
	}
	return s.start(ctx, env)
}

// start starts the client in an environment; the session ends it.
func (s *session) start(ctx context.Context, env []string) (caller, error) {
	c, err := s.player.start(ctx, s.bed, env)
	if err == nil {
		s.closers = append(s.closers, c.close)
	}
	return c, err
}

func (s *session) close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
