// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

var pkcs1Hashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

func rsaPrivate(tb testing.TB, bits int) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// raw is the signature of any encoded message at all: what a forger who found
// a hole in the check of the padding would send.
func raw(key *rsa.PrivateKey, message []byte) []byte {
	m := new(big.Int).SetBytes(message)
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

func TestPKCS1(t *testing.T) {
	for _, bits := range []int{2048, 2049, 2056, 3072} {
		key := rsaPrivate(t, bits)
		k := newPKCS1Key(&key.PublicKey)
		for _, hash := range pkcs1Hashes {
			digest := make([]byte, hash.Size())
			rand.Read(digest)
			good, err := rsa.SignPKCS1v15(nil, key, hash, digest)
			if err != nil {
				t.Fatal(err)
			}
			if !k.verify(hash, digest, good) {
				t.Errorf("%d bits, %v: a good signature is refused", bits, hash)
			}
			for name, bad := range forgeries(key, hash, digest, good) {
				if k.verify(hash, digest, bad) {
					t.Errorf("%d bits, %v: %s is accepted", bits, hash, name)
				}
				if rsa.VerifyPKCS1v15(&key.PublicKey, hash, digest, bad) == nil {
					t.Errorf("%d bits, %v: crypto/rsa accepts %s", bits, hash, name)
				}
			}
			digest[0] ^= 1
			if k.verify(hash, digest, good) {
				t.Errorf("%d bits, %v: the signature of another digest is accepted", bits, hash)
			}
			if k.verify(hash, digest[1:], good) || k.verify(crypto.SHA1, digest[:20], good) {
				t.Errorf("%d bits, %v: a digest of another length is accepted", bits, hash)
			}
		}
	}
}

func forgeries(key *rsa.PrivateKey, hash crypto.Hash, digest, good []byte) map[string][]byte {
	size := key.Size()
	em := func(change func(em []byte) []byte) []byte {
		return raw(key, change(appendEncodedMessage(nil, hash, digest, size)))
	}
	set := func(i int, v byte) []byte {
		return em(func(em []byte) []byte { em[i] = v; return em })
	}
	out := map[string][]byte{
		"nothing":                   nil,
		"a byte less":               good[1:],
		"a zero in front":           append([]byte{0}, good...),
		"a zero behind":             append(append([]byte{}, good...), 0),
		"zeros":                     make([]byte, size),
		"one":                       append(make([]byte, size-1), 1),
		"the modulus":               key.N.FillBytes(make([]byte, size)),
		"block type 2":              set(1, 2),
		"block type 0":              set(1, 0),
		"padding that is not 0xff":  set(7, 0xfe),
		"padding that ends early":   set(10, 0),
		"no end of the padding":     set(size-len(digest)-len(digestInfo(hash))-1, 0xff),
		"another digest in the end": set(size-1, digest[len(digest)-1]^1),
		"short padding, bytes behind": em(func(em []byte) []byte {
			rest := em[size-len(digest)-len(digestInfo(hash))-1:]
			short := append([]byte{0, 1, 255, 255, 255, 255, 255, 255, 255, 255}, rest...)
			return append(short, make([]byte, size-len(short))...)
		}),
		"no algorithm, digest alone": em(func(em []byte) []byte {
			for i := 2; i < size-len(digest)-1; i++ {
				em[i] = 0xff
			}
			em[size-len(digest)-1] = 0
			return em
		}),
		"no NULL parameters": em(func(em []byte) []byte {
			// DigestInfo without the optional NULL is another encoding: refused.
			prefix := digestInfo(hash)
			short := []byte(prefix[:1] + string(prefix[1]-2) + "\x30\x0b" + prefix[4:len(prefix)-4] + prefix[len(prefix)-2:])
			t := append(short, digest...)
			out := []byte{0, 1}
			for len(out) < size-len(t)-1 {
				out = append(out, 0xff)
			}
			return append(append(out, 0), t...)
		}),
	}
	// The good signature plus the modulus is congruent to it, where it fits.
	if sum := new(big.Int).Add(new(big.Int).SetBytes(good), key.N); sum.BitLen() <= 8*size {
		out["the signature plus the modulus"] = sum.FillBytes(make([]byte, size))
	}
	return out
}

// FuzzPKCS1 holds the check against crypto/rsa: signatures as they come, and
// signatures of encoded messages as they come, so that the padding is reached.
func FuzzPKCS1(f *testing.F) {
	key := rsaPrivate(f, 2048)
	k := newPKCS1Key(&key.PublicKey)
	digest := make([]byte, crypto.SHA512.Size())
	for i, hash := range pkcs1Hashes {
		d := digest[:hash.Size()]
		good, err := rsa.SignPKCS1v15(nil, key, hash, d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), false, d, good)
		f.Add(uint8(i), true, d, appendEncodedMessage(nil, hash, d, key.Size()))
	}
	f.Add(uint8(0), false, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, which uint8, encoded bool, digest, data []byte) {
		hash := pkcs1Hashes[int(which)%len(pkcs1Hashes)]
		signature := data
		if encoded {
			if len(data) > key.Size() {
				return
			}
			signature = raw(key, data)
		}
		want := rsa.VerifyPKCS1v15(&key.PublicKey, hash, digest, signature) == nil
		if got := k.verify(hash, digest, signature); got != want {
			t.Errorf("verify(%v, %x, %x) = %v, crypto/rsa says %v", hash, digest, signature, got, want)
		}
	})
}

func BenchmarkPKCS1(b *testing.B) {
	key := rsaPrivate(b, 2048)
	k := newPKCS1Key(&key.PublicKey)
	digest := make([]byte, crypto.SHA256.Size())
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("prepared", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !k.verify(crypto.SHA256, digest, signature) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("crypto/rsa", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest, signature) != nil {
				b.Fatal("refused")
			}
		}
	})
}
