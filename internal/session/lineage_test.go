// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"podid/internal/fault"
)

// golden is the payload of a session, byte by byte: replicas of two releases
// read each other's, so what it is changes with its version only.
const golden = "010102036177730c3131313132323232333333330541524f4131012f0172026d65000000000000000000046e732f7005414944413180f0fae1b26880aab2e5b2680283046e616d6500036f776e01780002000541524f413280f0fae1b2680c3434343435353535363636360541524f413380f0fae1b26800"

func TestFormat(t *testing.T) {
	s := &Session{
		Kind: Federated, UserID: "AIDA1", Partition: "aws", Account: account, RoleID: "AROA1", RolePath: "/", RoleName: "r", Name: "me",
		Issued: now, Expires: now.Add(time.Hour), Chained: true, Tags: []Tag{{"kubernetes-namespace", "name", true}, {"own", "x", false}},
		Origin: Origin{Pod: "ns/p"}, Chain: []Ancestor{{account, "AROA2", now}, {"444455556666", "AROA3", now}},
	}
	b := encode(nil, s, 0)
	if text := hex.EncodeToString(b); text != golden {
		t.Errorf("the format changed:\n%s\nwas\n%s", text, golden)
	}
	if got, err := decode(b); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLineage(t *testing.T) {
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	first := &Session{Account: account, RoleID: "AROA1", Issued: at(0)}
	second := &Session{Account: "444455556666", RoleID: "AROA2", Issued: at(10), Chain: first.Lineage()}
	third := &Session{Account: account, RoleID: "AROA1", Issued: at(20), Chain: second.Lineage()}
	fourth := &Session{Account: account, RoleID: "AROA3", Issued: at(30), Chain: third.Lineage()}
	want := []Ancestor{{account, "AROA1", at(0)}, {"444455556666", "AROA2", at(10)}}
	if !reflect.DeepEqual(fourth.Chain, want) {
		t.Errorf("%+v, want each principal once, with its earliest session: %+v", fourth.Chain, want)
	}
	if !fourth.Began().Equal(at(0)) || !first.Began().Equal(at(0)) {
		t.Errorf("began at %s", fourth.Began())
	}
	user := &Session{Kind: OfUser, Account: account, UserID: "AIDA1", Issued: at(0)}
	if got := user.Lineage(); len(got) != 1 || got[0].PrincipalID != "AIDA1" {
		t.Errorf("a user's: %+v", got)
	}
	if len(second.Chain) != 1 || len(third.Chain) != 2 {
		t.Error("a chain was changed by the next")
	}
}

func TestPod(t *testing.T) {
	tagged, untagged, chained := textbook(), textbook(), &Session{Tags: []Tag{{tagNamespace, "n", false}, {tagPodName, "p", false}}}
	untagged.Tags = nil
	named := *untagged
	named.Origin.Pod = "a/b"
	for name, tc := range map[string]struct {
		s    *Session
		want string
	}{
		"by tags": {tagged, "s3-app-ns/app1-v1-56b9f94b4-dvd5c"}, "without": {untagged, ""}, "named": {&named, "a/b"}, "tags that a user chose": {chained, ""},
	} {
		if got := tc.s.Pod(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestMinTokenSize(t *testing.T) {
	m, _ := newMinter(t)
	s := textbook()
	plain, err := m.Mint(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 500, 800, 801, 802, 803, 804, 1023, 1024, 2000, 4093, 4094, 4095, 4096} {
		padded := *s
		padded.MinTokenSize = want
		cred, err := m.Mint(&padded)
		if err != nil {
			t.Fatalf("%d: %v", want, err)
		}
		n := len(cred.SessionToken.Reveal())
		if n < want || n > MaxTokenBytes || n > max(want+8, len(plain.SessionToken.Reveal())) {
			t.Errorf("at least %d bytes: the token has %d", want, n)
		}
		got, _, err := m.Open(t.Context(), cred.AccessKeyID, cred.SessionToken.Reveal())
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%d: %+v, %v", want, got, err)
		}
	}
}

// TestTooLargeSaysByHowMuch: the size it names is the one the token would have.
func TestTooLargeSaysByHowMuch(t *testing.T) {
	m, _ := newMinter(t)
	s := textbook()
	for n := 2000; ; n++ {
		s.Policy = strings.Repeat("x", n)
		if _, err := m.Mint(s); err != nil {
			if want := "the session token would have 4100 bytes, 4 more than the 4096 that are allowed."; !strings.HasSuffix(fault.As(err).Message, want) {
				t.Errorf("%v, want …%s", err, want)
			}
			return
		}
	}
}

func TestPackedPolicySize(t *testing.T) {
	six := func(cluster, namespace, serviceAccount, pod string) []Tag {
		return podSession(fmt.Sprintf("%-10s", cluster), namespace, serviceAccount, fmt.Sprintf("%-10s", pod), "/", "r").Tags
	}
	short := six("my-cluster", "s3-app-ns", "s3-app-sa", "app1-v1-56b9f94b4-dvd5c")
	long := six(strings.Repeat("c", 90), strings.Repeat("n", 50), strings.Repeat("s", 50), strings.Repeat("p", 63))
	for _, c := range []struct {
		name     string
		tags     []Tag
		policy   int
		arns     []string
		from, to int
	}{
		{"nothing", nil, 0, nil, 0, 0},
		{"the textbook's six tags", short, 0, nil, 55, 61},
		{"the shortest six tags", six("c", "n", "s", "p"), 0, nil, 55, 61},
		{"a cluster's and pod's longer names", six("production-eu-west-1", "payments", "payments-api", "payments-api-7f9c6d5b8-x2x4q"), 0, nil, 55, 61},
		{"long names", long, 0, nil, 71, 77},
		{"a policy alone", nil, 740, nil, 37, 37},
		{"policy and long names", long, 740, nil, 108, 114},
		{"the longest policy", nil, 2048, nil, 103, 103},
		{"a managed policy", nil, 0, []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}, 3, 3},
		{"one tag", []Tag{{"team", "blue", false}}, 0, nil, 3, 3},
	} {
		got := PackedPolicySize(c.tags, strings.Repeat("x", c.policy), c.arns)
		if got < c.from || got > c.to {
			t.Errorf("%s: %d %%, want %d to %d", c.name, got, c.from, c.to)
		}
	}
	if a, b, both := PackedPolicySize(short, "", nil), PackedPolicySize(nil, strings.Repeat("x", 740), nil), PackedPolicySize(short, strings.Repeat("x", 740), nil); both < a+b-1 || both > a+b {
		t.Errorf("%d and %d make %d", a, b, both)
	}
}
