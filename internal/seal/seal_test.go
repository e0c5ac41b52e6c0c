// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"podid/internal/seal"
)

const account = "012345678901"

var aad = []byte("https://podid.example.com\x00aws")

func rootKey(t testing.TB) seal.RootKey {
	t.Helper()
	k, err := seal.GenerateRootKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func tokenKey(t testing.TB, id uint32) seal.TokenKey {
	t.Helper()
	token, secret := roots(t)
	k, err := seal.NewTokenKey(id, token, secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func roots(t testing.TB) (token, secret []byte) {
	t.Helper()
	both := make([]byte, 64)
	if _, err := rand.Read(both); err != nil {
		t.Fatal(err)
	}
	return both[:32], both[32:]
}

func TestRootSealOpen(t *testing.T) {
	k := rootKey(t)
	for _, plain := range []string{"", "x", strings.Repeat("secret ", 1000)} {
		sealed, err := k.Seal(rand.Reader, []byte(plain), []byte("/record"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Open(sealed, []byte("/record"))
		if err != nil || string(got) != plain {
			t.Errorf("Open = %q, %v", got, err)
		}
		again, err := k.Seal(rand.Reader, []byte(plain), []byte("/record"))
		if err != nil || bytes.Equal(again, sealed) {
			t.Errorf("two seals are equal (%v)", err)
		}
	}
}

func TestRootOpenRefuses(t *testing.T) {
	k := rootKey(t)
	good, err := k.Seal(rand.Reader, []byte("secret"), []byte("/a"))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 1
		return b
	}
	cases := []struct {
		name   string
		key    seal.RootKey
		sealed []byte
		aad    string
		want   error
	}{
		{"moved", k, good, "/b", seal.ErrNotAuthentic},
		{"other key", rootKey(t), good, "/a", seal.ErrOtherKey},
		{"zero key", seal.RootKey{}, good, "/a", seal.ErrOtherKey},
		{"version", k, append([]byte{2}, good[1:]...), "/a", seal.ErrVersion},
		{"fingerprint", k, flip(3), "/a", seal.ErrOtherKey},
		{"salt", k, flip(12), "/a", seal.ErrNotAuthentic},
		{"text", k, flip(26), "/a", seal.ErrNotAuthentic},
		{"tag", k, flip(len(good) - 1), "/a", seal.ErrNotAuthentic},
		{"cut", k, good[:len(good)-1], "/a", seal.ErrNotAuthentic},
		{"short", k, good[:40], "/a", seal.ErrMalformed},
		{"empty", k, nil, "/a", seal.ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := c.key.Open(c.sealed, []byte(c.aad)); !errors.Is(err, c.want) || got != nil {
				t.Errorf("Open = %q, %v, want %v", got, err, c.want)
			}
		})
	}
	if _, err := (seal.RootKey{}).Seal(rand.Reader, nil, nil); err == nil {
		t.Error("the zero key seals")
	}
	if _, err := k.Seal(bytes.NewReader(nil), nil, nil); err == nil {
		t.Error("sealed without randomness")
	}
}

func TestNewRootKeyRefuses(t *testing.T) {
	for name, raw := range map[string][]byte{"short": make([]byte, 31), "long": make([]byte, 33), "zeros": make([]byte, 32)} {
		if _, err := seal.NewRootKey(raw); err == nil {
			t.Errorf("%s key accepted", name)
		}
	}
	raw := bytes.Repeat([]byte{7}, 32)
	a, _ := seal.NewRootKey(raw)
	b, _ := seal.NewRootKey(raw)
	if a.ID() != b.ID() || len(a.ID()) != 16 || a.ID() == rootKey(t).ID() {
		t.Errorf("ids %q %q", a.ID(), b.ID())
	}
}

func TestRootFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if _, err := seal.LoadRootKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load of nothing = %v", err)
	}
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			k, err := seal.LoadOrCreateRootKey(path, rand.Reader)
			if err != nil {
				t.Error(err)
			}
			ids[i] = k.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("racing creators got several keys: %v", ids)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("temporary files stay: %v", left)
	}
	if _, err := seal.CreateRootKey(path, rand.Reader); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an existing key was replaced: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadRootKey(path); err == nil || !strings.Contains(err.Error(), "mode 0640, want 0600") {
		t.Errorf("a readable key file: %v", err)
	}
}

func TestRootFileRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"empty":     "",
		"no prefix": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)),
		"short":     "podid-root-key-v1:AAAA\n",
		"garbage":   "podid-root-key-v1:!!!\n",
		"zeros":     "podid-root-key-v1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n",
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.LoadRootKey(path); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := seal.LoadRootKey(t.TempDir()); err == nil {
		t.Error("a directory is a key")
	}
}

func TestToken(t *testing.T) {
	rootOfTokens, rootOfSecrets := roots(t)
	k, err := seal.NewTokenKey(0xC0FFEE01, rootOfTokens, rootOfSecrets)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.SealToken(k, rand.Reader, account, aad, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^ASIA[A-Z2-7]{16}$`).MatchString(s.AccessKeyID) ||
		!regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(s.SecretAccessKey) {
		t.Errorf("credentials do not look like AWS': %q %d characters", s.AccessKeyID, len(s.SecretAccessKey))
	}
	if id, err := seal.TokenKeyID(s.Token); err != nil || id != 0xC0FFEE01 {
		t.Errorf("TokenKeyID = %x, %v", id, err)
	}
	if got, ok := seal.AccountID(s.AccessKeyID); !ok || got != account {
		t.Errorf("AccountID = %q, %v", got, ok)
	}
	restored, err := seal.NewTokenKey(k.ID, rootOfTokens, rootOfSecrets)
	if err != nil {
		t.Fatal(err)
	}
	payload, secret, err := seal.OpenToken(restored, s.Token, s.AccessKeyID, aad)
	if err != nil || string(payload) != "payload" || secret != s.SecretAccessKey {
		t.Errorf("OpenToken = %q, %v", payload, err)
	}
}

func TestTokenKeyIDRefuses(t *testing.T) {
	for token, want := range map[string]error{
		"": seal.ErrMalformed, "AQAAAAE": seal.ErrMalformed, "AQAAAA==": seal.ErrMalformed, "AQAAAAA=": seal.ErrMalformed, "AQAAAA==AQAAAAAA": seal.ErrMalformed,
		"AQ\r\nAAAA": seal.ErrMalformed, "!!!!!!!!": seal.ErrMalformed, "AgAAAAAA": seal.ErrVersion,
	} {
		if id, err := seal.TokenKeyID(token); !errors.Is(err, want) {
			t.Errorf("TokenKeyID(%q) = %x, %v, want %v", token, id, err, want)
		}
	}
}

// TestTokenEveryBit flips every bit of a token: none may open.
func TestTokenEveryBit(t *testing.T) {
	k := tokenKey(t, 1)
	s, err := seal.SealToken(k, rand.Reader, account, aad, []byte("role=a"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(s.Token)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(raw) * 8 {
		b := bytes.Clone(raw)
		b[bit/8] ^= 1 << (bit % 8)
		if _, _, err := seal.OpenToken(k, base64.StdEncoding.EncodeToString(b), s.AccessKeyID, aad); err == nil {
			t.Fatalf("bit %d may be flipped", bit)
		}
	}
}

func TestOpenTokenRefuses(t *testing.T) {
	k := tokenKey(t, 1)
	s, err := seal.SealToken(k, rand.Reader, account, aad, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.SealToken(k, rand.Reader, account, aad, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, token, id string
		key             seal.TokenKey
		aad             []byte
		want            error
	}{
		{"another session's key id", s.Token, other.AccessKeyID, k, aad, seal.ErrNotAuthentic},
		{"another account", s.Token, "ASIA" + "AAAAAAAA" + s.AccessKeyID[12:], k, aad, seal.ErrNotAuthentic},
		{"another issuer", s.Token, s.AccessKeyID, k, []byte("x"), seal.ErrNotAuthentic},
		{"another key, same id", s.Token, s.AccessKeyID, tokenKey(t, 1), aad, seal.ErrNotAuthentic},
		{"another key id", s.Token, s.AccessKeyID, tokenKey(t, 2), aad, seal.ErrOtherKey},
		{"zero key", s.Token, s.AccessKeyID, seal.TokenKey{ID: 1}, aad, seal.ErrOtherKey},
		{"new line", s.Token[:8] + "\n" + s.Token[8:], s.AccessKeyID, k, aad, seal.ErrMalformed},
		{"url alphabet", strings.NewReplacer("+", "-", "/", "_").Replace(s.Token) + "-", s.AccessKeyID, k, aad, seal.ErrMalformed},
		{"empty", "", s.AccessKeyID, k, aad, seal.ErrVersion},
		{"version", "Ag" + s.Token[2:], s.AccessKeyID, k, aad, seal.ErrVersion},
		{"short", s.Token[:16], s.AccessKeyID, k, aad, seal.ErrMalformed},
		{"long", strings.Repeat("A", seal.MaxTokenLen+4), s.AccessKeyID, k, aad, seal.ErrMalformed},
		{"no key id", s.Token, "", k, aad, seal.ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			payload, secret, err := seal.OpenToken(c.key, c.token, c.id, c.aad)
			if !errors.Is(err, c.want) || payload != nil || secret != "" {
				t.Errorf("OpenToken = %q, %v, want %v", payload, err, c.want)
			}
		})
	}
}

func TestTokenLimits(t *testing.T) {
	k := tokenKey(t, 1)
	s, err := seal.SealToken(k, rand.Reader, account, aad, make([]byte, seal.MaxPayload))
	if err != nil || len(s.Token) > seal.MaxTokenLen {
		t.Errorf("the longest payload gives %d characters, %v", len(s.Token), err)
	}
	if _, err := seal.SealToken(k, rand.Reader, account, aad, make([]byte, seal.MaxPayload+1)); !errors.Is(err, seal.ErrTooLong) {
		t.Errorf("a longer payload: %v", err)
	}
	for _, id := range []string{"", "1", "12345678901x", "+12345678901", "1234567890123"} {
		if _, err := seal.SealToken(k, rand.Reader, id, aad, nil); err == nil {
			t.Errorf("account %q accepted", id)
		}
	}
	for _, id := range []string{"", "AKIAAAAAAAAAAAAAAAAA", "ASIA7777777777777777", "ASIA1AAAAAAAAAAAAAAA", "ASIAAAAA"} {
		if got, ok := seal.AccountID(id); ok {
			t.Errorf("AccountID(%q) = %q", id, got)
		}
	}
	for name, id := range map[string]string{
		"short": "AKIA", "no base32": "AKIA0189018901890189", "lower case": "AKIAabcdabcdabcdabcd", "beyond 12 digits": "AKIA7777777777777777",
		"too long": "AKIAAAAAAAAAAAAAAAAAAAAA", "line ends": "AKIA\n\nAAAAAAAAAAAAAA", "another kind": "AROAAAAAAAAAAAAAAAAA",
	} {
		if got, ok := seal.AccessKeyAccount(id); ok {
			t.Errorf("%s: account %q", name, got)
		}
	}
}

func TestNothingPrints(t *testing.T) {
	root := rootKey(t)
	token, secret := roots(t)
	key, err := seal.NewTokenKey(7, token, secret)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.SealToken(key, rand.Reader, account, aad, nil)
	if err != nil {
		t.Fatal(err)
	}
	holder := struct {
		root seal.RootKey
		key  seal.TokenKey
	}{root, key}
	text := fmt.Sprintf("%v %+v %#v %s|%v %+v %#v|%v %+v %#v|%v %+v %#v", root, root, root, root, key, key, key, s, s, s, holder, holder, holder)
	for _, leak := range []string{s.SecretAccessKey, s.Token, fmt.Sprint(token), fmt.Sprint(secret), fmt.Sprintf("%#v", token)} {
		if strings.Contains(text, leak) {
			t.Errorf("a secret prints: %s", text)
		}
	}
}

// FuzzOpen: nothing that was not sealed opens, and what opens has one spelling.
func FuzzOpen(f *testing.F) {
	k, err := seal.NewTokenKey(1, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		f.Fatal(err)
	}
	root, err := seal.NewRootKey(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		f.Fatal(err)
	}
	s, err := seal.SealToken(k, bytes.NewReader(make([]byte, 16)), account, aad, []byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	record, err := root.Seal(bytes.NewReader(make([]byte, 16)), []byte("secret"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Token, s.AccessKeyID, record)
	f.Add("AQAAAAE", "ASIA", []byte{1})
	f.Add("AQAAAA==", "ASIA", []byte{1})
	f.Fuzz(func(t *testing.T, token, id string, sealed []byte) {
		if _, _, err := seal.OpenToken(k, token, id, aad); err == nil && (token != s.Token || id != s.AccessKeyID) {
			t.Errorf("a forged token opens: %q", token)
		}
		if _, err := root.Open(sealed, nil); err == nil && !bytes.Equal(sealed, record) {
			t.Errorf("a forged record opens: %x", sealed)
		}
		_, _ = seal.TokenKeyID(token)
		if n, ok := seal.AccessKeyAccount(id); ok && (len(n) != 12 || strings.Trim(n, "0123456789") != "") {
			t.Errorf("the account of %q is %q", id, n)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	k, payload := tokenKey(b, 1), make([]byte, 450)
	s, err := seal.SealToken(k, rand.Reader, account, aad, payload)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := seal.SealToken(k, rand.Reader, account, aad, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := seal.OpenToken(k, s.Token, s.AccessKeyID, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	k, plain := rootKey(b), make([]byte, 64)
	sealed, err := k.Seal(rand.Reader, plain, aad)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Seal(rand.Reader, plain, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Open(sealed, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A pipe in the key's place must not hang the start, and a huge file not fill
// the memory.
func TestRootFileOfOddKinds(t *testing.T) {
	dir := t.TempDir()
	pipe, huge := filepath.Join(dir, "pipe"), filepath.Join(dir, "huge")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadRootKey(pipe); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("pipe: %v", err)
	}
	if _, err := seal.LoadRootKey(dir); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("directory: %v", err)
	}
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadRootKey(huge); err == nil {
		t.Error("a file without a key was taken")
	}
}
