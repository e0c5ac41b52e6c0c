// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package satoken

import (
	"encoding/json"
	"reflect"
	"testing"
)

const projected = `{"aud":["pods.eks.amazonaws.com"],"exp":1763892000,"iat":1763805600,"iss":"https://kubernetes.default.svc.cluster.local",` +
	`"jti":"e0a3b0a4-6f10-4a39-8d7f-0d6c1b6f9a01","kubernetes.io":{"namespace":"s3-app-ns","node":{"name":"node-1","uid":"91c0c9a4"},` +
	`"pod":{"name":"app1-v1-56b9f94b4-dvd5c","uid":"0b1c2d3e"},"serviceaccount":{"name":"s3-app-sa","uid":"5a5a5a5a"},"warnafter":1763809207},` +
	`"nbf":1763805600,"sub":"system:serviceaccount:s3-app-ns:s3-app-sa"}`

var compactSeeds = []string{
	projected, `{}`, ``, `{"aud":"a"}`, `{"aud":[]}`, `{"aud":["a","b"],"aud":"c"}`, `{"AUD":["a"]}`, `{"exp":01}`, `{"exp":1.5}`, `{"exp":1e3}`,
	`{"exp":-1}`, `{"exp":null}`, `{"exp":"1"}`, `{"exp":99999999999999999999}`, `{"iss":"a\u0041"}`, `{"iss":"é"}`, `{"iss":"a}`, `{"iss":"a"}x`,
	`{"iss":"a"} `, ` {"iss":"a"}`, `{"iss":"a",}`, `{"iss":"a"`, `{"kubernetes.io":{"pod":{"name":"a","uid":"b"},"pod":null}}`,
	`{"kubernetes.io":{"secret":{"name":"a"}}}`, `{"kubernetes.io":{}}`, `{"kubernetes.io":null}`, `{"kubernetes.io":{"pod":{"name":"a","name":"b"}}}`,
	`{"other":1}`, `{"aud":["a",]}`, `{"aud":["a"`, "{\"iss\":\"\x7f\"}", "{\"iss\":\"\n\"}", `{"kubernetes.io":{"warnafter":1,"warnafter":2}}`,
}

// agrees holds compact against encoding/json: what it takes, both read alike.
func agrees(t *testing.T, payload []byte) bool {
	t.Helper()
	got, ok := compact(payload)
	if !ok {
		return false
	}
	var want wire
	if err := json.Unmarshal(payload, &want); err != nil {
		t.Errorf("%q: taken, but encoding/json says %v", payload, err)
	} else if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: read as %+v, encoding/json reads %+v", payload, got, want)
	}
	return true
}

func TestCompact(t *testing.T) {
	for _, s := range compactSeeds {
		agrees(t, []byte(s))
	}
	if !agrees(t, []byte(projected)) {
		t.Error("the ordinary form of claims takes the long way")
	}
	for _, s := range []string{`{"aud":["a"],"aud":["b"]}`, `{"iss":"a","Iss":"b"}`, `{"iss":"\u0041"}`, `{"exp":1.5}`, `{"kubernetes.io":{"pod":null}}`, `{"new":1}`} {
		if _, ok := compact([]byte(s)); ok {
			t.Errorf("%s is not left to encoding/json", s)
		}
	}
}

func FuzzCompact(f *testing.F) {
	for _, s := range compactSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { agrees(t, payload) })
}
