// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authmsg_test

import (
	"crypto/rand"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podid/internal/authmsg"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/seal"
)

const account = "111122223333"

var update = flag.Bool("update", false, "write the golden files anew")

type sealer struct{ root seal.RootKey }

func (s sealer) Seal(plain, aad []byte) ([]byte, error)  { return s.root.Seal(rand.Reader, plain, aad) }
func (s sealer) Open(sealed, aad []byte) ([]byte, error) { return s.root.Open(sealed, aad) }

type house struct {
	authmsg.Codec
	now time.Time
}

func newHouse(t testing.TB) *house {
	t.Helper()
	root, err := seal.GenerateRootKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{now: time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)}
	h.Codec = authmsg.Codec{Sealer: sealer{root}, Now: func() time.Time { return h.now }}
	return h
}

var jane = iam.Caller{Kind: iam.CallerUser, Account: account, ARN: "arn:aws:iam::111122223333:user/jane", UserID: "AIDAEXAMPLE", User: &iam.User{Name: "jane"}}

// explained is why jane may not call an operation, as authz says it.
func explained(t testing.TB, document string, more func(*policy.Context)) policy.Explanation {
	t.Helper()
	d, err := policy.Parse(policy.Identity, document)
	if err != nil {
		t.Fatal(err)
	}
	ctx := &policy.Context{}
	p := policy.UserPrincipal(jane.ARN).WithID(jane.UserID)
	ctx.SetCaller(p)
	ctx.Set("aws:SourceIp", "192.0.2.1")
	ctx.SetMulti("aws:TagKeys", "a", "b")
	if more != nil {
		more(ctx)
	}
	return policy.Explain(&policy.Input{
		Principal: p, Action: "eks:DescribeCluster", Resource: "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster", Context: ctx,
		Identity: []policy.Named{{Name: "own", Doc: d}},
	})
}

func denied(detail any) *fault.Error { return fault.New(fault.AccessDenied, "no").WithDetail(detail) }

// assumption is the detail that STS gives.
type assumption struct {
	role string
	x    *policy.Explanation
}

func (a assumption) Refused() (action, resource string, x *policy.Explanation) {
	return "sts:TagSession", a.role, a.x
}

const (
	denial = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Sid":"NotFromHome","Effect":"Deny","Action":"eks:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}]}`
	nearly = `{"Version":"2012-10-17","Statement":{"Sid":"Ours","Effect":"Allow","Action":"eks:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue"}}}}`
)

func TestDecoded(t *testing.T) {
	h := newHouse(t)
	implicit := explained(t, nearly, nil)
	for _, tc := range []struct {
		name   string
		detail any
	}{
		{"explicit", explained(t, denial, nil)},
		{"implicit", implicit},
		{"assumption", assumption{"arn:aws:iam::111122223333:role/app", &implicit}},
		{"neighbour", assumption{"arn:aws:iam::444455556666:role/app", &implicit}},
		{"norole", assumption{"arn:aws:iam::111122223333:role/app", nil}},
		{"nothing", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, err := h.Encode(jane, "eks:DescribeCluster", denied(tc.detail))
			if err != nil {
				t.Fatal(err)
			}
			m, err := h.Decode(account, text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.JSON()
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", tc.name+".json")
			if *update {
				if err := os.WriteFile(golden, []byte(got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got+"\n" != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestOneSize: a message's length tells nothing, whatever it is made of.
func TestOneSize(t *testing.T) {
	h := newHouse(t)
	long := iam.Caller{Kind: iam.CallerUser, Account: account, ARN: "arn:aws:iam::111122223333:user/" + strings.Repeat("é", 600), UserID: strings.Repeat("i", 400), User: &iam.User{Name: strings.Repeat("n", 64)}}
	large := explained(t, strings.Replace(denial, `"eks:*"`, `["eks:`+strings.Repeat("x", 100)+`","eks:`+strings.Repeat(`y","eks:`, 200)+`*"]`, 1), func(c *policy.Context) {
		for i := range 50 {
			c.SetTag("aws:PrincipalTag/", strings.Repeat("k", 100)+string(rune('a'+i)), strings.Repeat("v", 256))
		}
		c.SetMulti("aws:TagKeys", strings.Split(strings.Repeat("some-tag-key ", 60), " ")...)
	})
	sizes := map[int]bool{}
	for _, c := range []iam.Caller{jane, long} {
		for _, detail := range []any{nil, explained(t, denial, nil), explained(t, nearly, nil), large, assumption{"arn:aws:iam::111122223333:role/" + strings.Repeat("r", 600), &large}} {
			text, err := h.Encode(c, "eks:DescribeCluster", denied(detail))
			if err != nil {
				t.Fatal(err)
			}
			sizes[len(text)] = true
			m, err := h.Decode(account, text)
			if err != nil {
				t.Fatal(err)
			}
			if c.ARN == jane.ARN && m.Context.Principal.ARN != jane.ARN {
				t.Errorf("%+v", m.Context)
			}
			if x, ok := detail.(policy.Explanation); ok && x.Decision.Explicit && (len(m.MatchedStatements.Items) != 1 || len(m.Context.Conditions.Items) == 0) {
				t.Errorf("%+v", m)
			}
		}
	}
	if len(sizes) != 1 || sizes[0] {
		t.Errorf("sizes %v", sizes)
	}
	for n := range sizes {
		if n > 1800 {
			t.Errorf("%d characters are more than a header should have", n)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	text, err := h.Encode(jane, "eks:DescribeCluster", denied(explained(t, denial, nil)))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		b := []byte(text)
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		return string(b)
	}
	record, err := h.Sealer.Seal(make([]byte, 1280), []byte("another record"))
	if err != nil || len(record) == 0 {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, account, text string
		codec               *house
		after               time.Duration
		ok                  bool
	}{
		{"as it was", account, text, h, 0, true},
		{"a day later", account, text, h, authmsg.Life, true},
		{"over", account, text, h, authmsg.Life + time.Second, false},
		{"a clock behind", account, text, h, -5 * time.Minute, true},
		{"from the future", account, text, h, -6 * time.Minute, false},
		{"another account", "444455556666", text, h, 0, false},
		{"another control plane", account, text, other, 0, false},
		{"empty", account, "", h, 0, false},
		{"cut", account, text[:len(text)-4], h, 0, false},
		{"longer", account, text + "AAAA", h, 0, false},
		{"line end", account, text[:40] + "\n" + text[40:], h, 0, false},
		{"padded", account, text + "=", h, 0, false},
		{"blank", account, " " + text, h, 0, false},
		{"altered begin", account, flip(0), h, 0, false},
		{"altered middle", account, flip(900), h, 0, false},
		{"no base64", account, "?" + text[1:], h, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.codec.now = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC).Add(tc.after)
			_, err := tc.codec.Decode(tc.account, tc.text)
			if tc.ok != (err == nil) || err != nil && !errors.Is(err, authmsg.ErrInvalid) {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	h := newHouse(f)
	text, err := h.Encode(jane, "eks:DescribeCluster", denied(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("")
	f.Fuzz(func(t *testing.T, other string) {
		if _, err := h.Decode(account, other); err == nil && other != text {
			t.Fatalf("%q is accepted", other)
		}
	})
}

// BenchmarkEncode is what a refusal costs more than without a message.
func BenchmarkEncode(b *testing.B) {
	h := newHouse(b)
	f := denied(explained(b, nearly, nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Encode(jane, "eks:DescribeCluster", f); err != nil {
			b.Fatal(err)
		}
	}
}
