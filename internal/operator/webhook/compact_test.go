// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// compactPod has what API servers write, and what needs care.
const compactPod = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"n","operation":"CREATE",` +
	`"userInfo":{"username":"x","extra":{"k":["JTI=1"]}},"object":{"kind":"Pod","metadata":{"name":"p","labels":{"a":"b","ü":"\u00e4\ud83d"},"annotations":null,"managedFields":[{"f:x":{"k:{\"uid\":\"1\"}":{".":{}}}}]},` +
	`"spec":{"volumes":[{"name":"v","emptyDir":{}}],"initContainers":[],"containers":[{"name":"c","env":[{"name":"A","value":"1\n2"},{"name":"B","valueFrom":{"fieldRef":{"fieldPath":"x"}}},{"name":"C","valueFrom":null}],` +
	`"volumeMounts":[{"name":"v","mountPath":"/v","readOnly":true}],"resources":{"limits":{"cpu":-1.5e+3,"x":0}}},null],"os":{"name":"linux"},"nodeSelector":{"kubernetes.io/os":"linux"},"serviceAccountName":"s"}},` +
	`"oldObject":null,"dryRun":true,"options":{"kind":"CreateOptions"}}}`

func TestReadCompact(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 250) + "1" + strings.Repeat("}", 250)
	tests := []struct {
		name, text string
		fast       bool // read without encoding/json
	}{
		{"an API server's", compactPod, true},
		{"with blanks", "\n" + strings.ReplaceAll(compactPod, ",", " ,\t") + " \n", true},
		{"null", "null", true},
		{"nothing", "", false},
		{"more after it", compactPod + "x", false},
		{"a name twice", strings.Replace(compactPod, `"name":"p"`, `"name":"p","name":"q"`, 1), false},
		{"a name in another case", strings.Replace(compactPod, `"name":"p"`, `"Name":"p"`, 1), false},
		{"a name that folds to another", strings.Replace(compactPod, `"spec":`, `"ſpec":`, 1), false},
		{"a name in escapes", strings.Replace(compactPod, `"name":"p"`, `"n\u0061me":"p"`, 1), true},
		{"no UTF-8 in what counts", strings.Replace(compactPod, `"uid":"u"`, "\"uid\":\"\xff\"", 1), false},
		{"no UTF-8 elsewhere", strings.Replace(compactPod, `"JTI=1"`, "\"\xff\"", 1), true},
		{"another type", strings.Replace(compactPod, `"uid":"u"`, `"uid":1`, 1), false},
		{"a value from no object", strings.Replace(compactPod, `"valueFrom":{"fieldRef":{"fieldPath":"x"}}`, `"valueFrom":1`, 1), false},
		{"a response", `{"response":{}}`, false},
		{"very deep", strings.Replace(compactPod, `"x":0`, `"x":`+deep, 1), false},
		{"a bad number", strings.Replace(compactPod, `"x":0`, `"x":01`, 1), false},
		{"a bad escape", strings.Replace(compactPod, `"JTI=1"`, `"\x"`, 1), false},
		{"a control character", strings.Replace(compactPod, `"JTI=1"`, "\"\n\"", 1), false},
		{"a list that goes on", strings.Replace(compactPod, `["JTI=1"]`, `["JTI=1",]`, 1), false},
		{"cut", compactPod[:len(compactPod)-1], false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := readCompact(tc.text)
			if ok != tc.fast {
				t.Errorf("read compactly: %t, want %t", ok, tc.fast)
			}
			var want review
			if err := json.Unmarshal([]byte(tc.text), &want); ok && (err != nil || !reflect.DeepEqual(got, want)) {
				t.Errorf("read %+v\nwant %+v, %v", got, want, err)
			}
		})
	}
}

// FuzzReadCompact holds the fast way to encoding/json: what it reads is the same.
func FuzzReadCompact(f *testing.F) {
	f.Add(compactPod)
	f.Add(`{"request":{"object":{"metadata":{"labels":{"a":null,"a":"b"}},"spec":{"containers":[null,{}],"volumes":null}}}}`)
	f.Add(`{"x":[1,-0.5e-7,true,false,null,"\u12aF\\"],"request":null,"kind":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := readCompact(text)
		if !ok {
			return
		}
		var want review
		if err := json.Unmarshal([]byte(text), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v\nwant %+v, %v", got, want, err)
		}
	})
}

func TestEncode(t *testing.T) {
	for name, r := range map[string]review{
		"nothing":   {APIVersion: "v", Kind: "k", Response: &response{UID: "u", Allowed: true}},
		"no answer": {APIVersion: "v", Kind: "k"},
		"a patch":   {APIVersion: "v", Kind: "k", Response: &response{UID: "u\"", Allowed: true, Patch: []byte(`[{"op":"add"}]`), PatchType: "JSONPatch", AuditAnnotations: map[string]string{"identity": "x"}, Warnings: []string{"<w>"}}},
		"a refusal": malformed(review{}, errText),
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := r.encode(&b); err != nil {
				t.Fatal(err)
			}
			var got review
			if err := json.Unmarshal(b.Bytes(), &got); err != nil || !reflect.DeepEqual(got, r) {
				t.Errorf("%s: read back as %+v, %v", b.String(), got.Response, err)
			}
		})
	}
}

type textError string

func (e textError) Error() string { return string(e) }

const errText = textError("it is none")

func BenchmarkReadCompact(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(compactPod)))
	for b.Loop() {
		if _, ok := readCompact(compactPod); !ok {
			b.Fatal("not read")
		}
	}
}
