// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"podid/internal/fault"
	"podid/internal/seal"
)

const account = "111122223333"

var now = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)

// keys is a keyset of one key.
type keys struct {
	key  seal.TokenKey
	err  error
	none bool
}

func (k *keys) Primary() (seal.TokenKey, error) { return k.key, k.err }
func (k *keys) Lookup(_ context.Context, id uint32) (seal.TokenKey, bool, error) {
	return k.key, k.err == nil && !k.none && id == k.key.ID, k.err
}

func newMinter(t testing.TB) (*Minter, *keys) {
	t.Helper()
	roots := make([]byte, 64)
	if _, err := rand.Read(roots); err != nil {
		t.Fatal(err)
	}
	k, err := seal.NewTokenKey(7, roots[:32], roots[32:])
	if err != nil {
		t.Fatal(err)
	}
	ks := &keys{key: k}
	return &Minter{Keys: ks, Rand: rand.Reader, Now: func() time.Time { return now }, Account: account, Partition: "aws"}, ks
}

// podSession is what EKS Auth issues to a pod with those names.
func podSession(cluster, namespace, serviceAccount, pod, path, role string) *Session {
	const uid = "0b1c2d3e-0000-4000-8000-1234567890ab"
	arn := "arn:aws:eks:us-west-2:" + account + ":cluster/" + cluster
	return &Session{
		Partition: "aws", Account: account, RoleID: "AROAZJQ4EXAMPLE123456", RolePath: path, RoleName: role,
		Name: "eks-" + cluster[:10] + "-" + pod[:10] + "-d1861451-6ee5-4069-ae5d-741cbb99692a", Issued: now, Expires: now.Add(6 * time.Hour),
		Tags: []Tag{
			{"eks-cluster-arn", arn, true},
			{"eks-cluster-name", cluster, true},
			{"kubernetes-namespace", namespace, true},
			{"kubernetes-service-account", serviceAccount, true},
			{"kubernetes-pod-name", pod, true},
			{"kubernetes-pod-uid", uid, true},
		},
		Origin: Origin{ClusterUID: strings.Repeat("0123456789abcdef", 2), AssociationID: "a-abcdefghijklmnop1", PodUID: uid},
	}
}

func textbook() *Session {
	return podSession("my-cluster", "s3-app-ns", "s3-app-sa", "app1-v1-56b9f94b4-dvd5c", "/", "s3-app-eks-pod-identity-role")
}

func TestTokenSizes(t *testing.T) {
	m, _ := newMinter(t)
	r := strings.Repeat
	agent := textbook()
	agent.Tags, agent.Node = nil, Node{r("f", 32), "ip-10-0-0-1.us-west-2.compute.internal", "0b1c2d3e-0000-4000-8000-1234567890ab"}
	chained := textbook()
	chained.Chained, chained.Policy = true, r("p", 1000)
	for _, c := range []struct {
		name  string
		s     *Session
		limit int
	}{
		{"textbook", textbook(), 900},
		{"longest legal names", podSession(r("c", 100), r("n", 63), r("s", 253), r("p", 253), "/"+r("a", 510)+"/", r("r", 64)), 2600},
		{"agent", agent, 900},
		{"session policy", chained, MaxTokenBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			cred, err := m.Mint(c.s)
			if err != nil {
				t.Fatal(err)
			}
			n := len(cred.SessionToken.Reveal())
			t.Logf("%d characters, utilization %d %%", n, Utilization(cred))
			if n > c.limit {
				t.Errorf("token of %d characters, at most %d", n, c.limit)
			}
			got, sec, err := m.Open(context.Background(), cred.AccessKeyID, cred.SessionToken.Reveal())
			if err != nil || !reflect.DeepEqual(got, c.s) || !sec.Equal(cred.SecretAccessKey.Reveal()) {
				t.Errorf("Open = %+v, %v; want %+v", got, err, c.s)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	m, _ := newMinter(t)
	s := textbook()
	s.Policy = strings.Repeat("x", seal.MaxPayload)
	_, err := m.Mint(s)
	if !fault.Is(err, fault.PackedPolicyTooLarge) || fault.As(err).Message != "Packed size of session tags and session policies consumes 114% of allotted space: the session token would have 4636 bytes, 540 more than the 4096 that are allowed." {
		t.Errorf("Mint of a session that does not fit: %v", err)
	}
	for n := range 3000 {
		s.Policy = strings.Repeat("x", n)
		cred, err := m.Mint(s)
		if err != nil {
			if n < 2000 || strings.Contains(err.Error(), " 100%") {
				t.Errorf("with a policy of %d: %v", n, err)
			}
			return
		}
		if u := Utilization(cred); len(cred.SessionToken.Reveal()) > MaxTokenBytes || u > 100 || u < 1 {
			t.Fatalf("token of %d characters, %d %%", len(cred.SessionToken.Reveal()), u)
		}
	}
	t.Error("nothing is too large")
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func drawSession(t *rapid.T) *Session {
	text := rapid.StringN(0, 40, 80)
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(1, 253402300799000).Draw(t, "ms")).UTC()
	})
	key := rapid.OneOf(rapid.SampledFrom(wellKnown[:]), rapid.StringN(1, 20, 60), rapid.SampledFrom([]string{"EKS-CLUSTER-ARN", ""}))
	s := &Session{
		Partition: text.Draw(t, "partition"), Account: text.Draw(t, "account"), RoleID: text.Draw(t, "id"), RolePath: text.Draw(t, "path"),
		RoleName: text.Draw(t, "role"), Name: text.Draw(t, "name"), Issued: when.Draw(t, "issued"), Expires: when.Draw(t, "expires"),
		Chained: rapid.Bool().Draw(t, "chained"), SourceIdentity: text.Draw(t, "source"), FederatedProvider: text.Draw(t, "provider"),
		Policy: text.Draw(t, "policy"), Node: Node{text.Draw(t, "c"), text.Draw(t, "n"), text.Draw(t, "u")},
		Origin: Origin{text.Draw(t, "oc"), text.Draw(t, "oa"), text.Draw(t, "op"), text.Draw(t, "pod")},
	}
	s.Kind, s.UserID = Kind(rapid.IntRange(0, int(Federated)).Draw(t, "kind")), text.Draw(t, "user")
	for range rapid.IntRange(0, 3).Draw(t, "chain") {
		s.Chain = append(s.Chain, Ancestor{or(text.Draw(t, "account of"), s.Account), text.Draw(t, "principal"), when.Draw(t, "issued")})
	}
	for range rapid.IntRange(0, 5).Draw(t, "tags") {
		s.Tags = append(s.Tags, Tag{key.Draw(t, "key"), text.Draw(t, "value"), rapid.Bool().Draw(t, "transitive")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "arns") {
		s.PolicyARNs = append(s.PolicyARNs, text.Draw(t, "arn"))
	}
	return s
}

// Every session reads as it was written, and no shorter or longer payload
// reads at all.
func TestPayloadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSession(t)
		b := encode(nil, s, rapid.IntRange(0, 2000).Draw(t, "at least"))
		got, err := decode(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("decode(encode(%+v)) = %+v, %v", s, got, err)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := decode(b[:cut]); !errors.Is(err, errPayload) {
			t.Fatalf("a payload cut at %d of %d reads: %v", cut, len(b), err)
		}
		if _, err := decode(append(bytes.Clone(b), 0)); !errors.Is(err, errPayload) {
			t.Fatalf("a payload with a byte too much reads: %v", err)
		}
	})
}

func TestTruncatedAndForeignPayloads(t *testing.T) {
	b := encode(nil, textbook(), 0)
	for n := range b {
		if s, err := decode(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes read as %+v", n, len(b), s)
		}
	}
	change := func(i int, c byte) []byte { d := bytes.Clone(b); d[i] = c; return d }
	zero := encode(nil, &Session{}, 0)
	for _, c := range []struct {
		name string
		in   []byte
	}{
		{"other version", change(0, 3)},
		{"unknown kind", change(2, byte(Federated)+1)},
		{"unknown flag", change(1, 2)},
		{"string longer than the payload", change(3, 0xff)},
		{"list longer than the payload", append(bytes.Clone(zero[:len(zero)-4]), 0xff, 0xff, 0xff, 0xff, 0x0f)},
		{"list of 2^63", append(bytes.Clone(zero[:len(zero)-4]), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01)},
		{"varint without end", append(bytes.Clone(zero[:len(zero)-4]), bytes.Repeat([]byte{0x80}, 11)...)},
		{"unknown tag", append(bytes.Clone(zero[:len(zero)-4]), 1, 0x7f, 0, 0)},
	} {
		if s, err := decode(c.in); !errors.Is(err, errPayload) {
			t.Errorf("%s: %+v, %v", c.name, s, err)
		}
	}
	if s, err := decode(zero); err != nil || !reflect.DeepEqual(s, &Session{}) {
		t.Errorf("the zero session: %+v, %v", s, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	m, ks := newMinter(t)
	cred, err := m.Mint(textbook())
	if err != nil {
		t.Fatal(err)
	}
	other, _ := newMinter(t)
	alien := *m
	alien.Partition = "aws-cn"
	later := *m
	later.Now = func() time.Time { return now.Add(6 * time.Hour) }
	justBefore := *m
	justBefore.Now = func() time.Time { return now.Add(6*time.Hour - time.Second) }
	away := *m
	away.Keys = &keys{key: ks.key, err: errors.New("store is away")}
	rotated := *m
	rotated.Keys = &keys{key: ks.key, none: true}
	sealed, err := seal.SealToken(ks.key, rand.Reader, account, m.aad(), []byte{9, 9})
	if err != nil {
		t.Fatal(err)
	}
	id, token := cred.AccessKeyID, cred.SessionToken.Reveal()
	flipped := token[:100] + string(token[100]^1) + token[101:]
	for _, c := range []struct {
		name      string
		m         *Minter
		id, token string
		kind      fault.Kind
		reason    string
	}{
		{"good until the last second", &justBefore, id, token, 0, ""},
		{"expired", &later, id, token, fault.ExpiredCredentials, "session-expired"},
		{"empty", m, id, "", fault.UnknownAccessKey, "session-token-malformed"},
		{"not base64", m, id, "!!!!!!!!!!!!", fault.UnknownAccessKey, "session-token-malformed"},
		{"nothing but the beginning", m, id, "AQAAAA==", fault.UnknownAccessKey, "session-token-malformed"},
		{"too long", m, id, token + strings.Repeat("A", MaxTokenBytes), fault.UnknownAccessKey, "session-token-malformed"},
		{"key unknown", &rotated, id, token, fault.UnknownAccessKey, "session-token-key-unknown"},
		{"other key of the same id", other, id, token, fault.UnknownAccessKey, "session-token-forged"},
		{"other access key id", m, "ASIAAAAAAAAAAAAAAAAA", token, fault.UnknownAccessKey, "session-token-forged"},
		{"long-lived access key id", m, "AKIAIOSFODNN7EXAMPLE", token, fault.UnknownAccessKey, "session-token-forged"},
		{"other partition", &alien, id, token, fault.UnknownAccessKey, "session-token-forged"},
		{"a bit flipped", m, id, flipped, fault.UnknownAccessKey, "session-token-forged"},
		{"truncated", m, id, token[:len(token)-4], fault.UnknownAccessKey, "session-token-forged"},
		{"payload of another release", m, sealed.AccessKeyID, sealed.Token, fault.UnknownAccessKey, "session-token-malformed"},
		{"store away", &away, id, token, fault.Unavailable, "store-unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, sec, err := c.m.Open(context.Background(), c.id, c.token)
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			f := fault.As(err)
			if f.Kind != c.kind || f.Reason != c.reason || s != nil || !sec.IsZero() {
				t.Errorf("Open = %+v, %v %q, want %v %q", s, f.Kind, f.Reason, c.kind, c.reason)
			}
			if strings.Contains(f.Error(), "s3-app") || c.token != "" && strings.Contains(f.Error(), c.token) {
				t.Errorf("the error holds the token or what is in it: %v", f)
			}
		})
	}
	if _, err := away.Mint(textbook()); err == nil {
		t.Error("Mint without a key")
	}
}

func TestNames(t *testing.T) {
	s := podSession("my-cluster", "n", "s", "app1-v1-56b9f94b4", "/team/", "r")
	if got := s.RoleARN(); got != "arn:aws:iam::111122223333:role/team/r" {
		t.Error(got)
	}
	if got := s.ARN(); got != "arn:aws:sts::111122223333:assumed-role/r/"+s.Name {
		t.Error(got)
	}
	if got := s.AssumedRoleID(); got != "AROAZJQ4EXAMPLE123456:"+s.Name {
		t.Error(got)
	}
	if !(Node{}).IsZero() || (Node{ClusterUID: "c"}).IsZero() {
		t.Error("IsZero")
	}
	m, _ := newMinter(t)
	cred, err := m.Mint(s)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", cred, &cred, cred); strings.Contains(text, cred.SecretAccessKey.Reveal()) || strings.Contains(text, cred.SessionToken.Reveal()) {
		t.Errorf("credentials print themselves: %s", text)
	}
}

// Whatever is in an authentic payload, reading it ends, and what reads is
// written back to something that reads the same.
func FuzzDecode(f *testing.F) {
	f.Add(encode(nil, textbook(), 0))
	f.Add(encode(nil, &Session{}, 0))
	f.Add(encode(nil, &Session{Chained: true, Tags: []Tag{{"a", "b", false}}, PolicyARNs: []string{"x"}}, 0))
	f.Add(encode(nil, &Session{Kind: Federated, UserID: "AIDA1", Chain: []Ancestor{{"", "AROA1", now}}}, 300))
	f.Add([]byte{payloadVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(nil, s, 0))
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v reads again as %+v, %v", s, again, err)
		}
	})
}

// Nothing but a token that was sealed here opens.
func FuzzOpen(f *testing.F) {
	m, _ := newMinter(f)
	cred, err := m.Mint(textbook())
	if err != nil {
		f.Fatal(err)
	}
	id, token := cred.AccessKeyID, cred.SessionToken.Reveal()
	f.Add(id, token)
	f.Add(id, token[:len(token)-1])
	f.Add(id, token+"=")
	f.Add("", "")
	f.Add("ASIAAAAAAAAAAAAAAAAA", "AQAAAAcAAAAA")
	f.Fuzz(func(t *testing.T, gotID, gotToken string) {
		s, sec, err := m.Open(context.Background(), gotID, gotToken)
		if err == nil && (gotID != id || gotToken != token) {
			t.Fatalf("%q %q opens as %+v", gotID, gotToken, s)
		}
		if err != nil && (s != nil || !sec.IsZero()) {
			t.Fatal("a refusal comes with a session")
		}
	})
}

func BenchmarkMint(b *testing.B) {
	m, _ := newMinter(b)
	s := textbook()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Mint(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	m, _ := newMinter(b)
	cred, err := m.Mint(textbook())
	if err != nil {
		b.Fatal(err)
	}
	id, token := cred.AccessKeyID, cred.SessionToken.Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Open(context.Background(), id, token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenAgain is Open of a token that was opened before, as an agent's is
// at every call of its hour.
func BenchmarkOpenAgain(b *testing.B) {
	m, _ := newMinter(b)
	m.Opened = new(OpenCache)
	cred, err := m.Mint(textbook())
	if err != nil {
		b.Fatal(err)
	}
	id, token := cred.AccessKeyID, cred.SessionToken.Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Open(context.Background(), id, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	s := textbook()
	buf := encode(nil, s, 0)
	b.ReportAllocs()
	for b.Loop() {
		buf = encode(buf[:0], s, 0)
		if _, err := decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}
