// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// capture is a request of a real client and the answer that it parsed.
type capture struct {
	Request struct {
		Method, Path string
		Query        [][2]string
		Body         *struct{ JSON json.RawMessage }
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    struct{ JSON map[string]any }
	}
}

func readCapture(t *testing.T, name string) capture {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "wire", "eks-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var c capture
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// normal makes answers of two servers comparable: ids by what they were
// captured as, and only the type of times and page tokens.
func normal(v any, ids map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			_, number := e.(float64)
			_, text := e.(string)
			switch {
			case (k == "createdAt" || k == "modifiedAt") && number:
				v[k] = "a number"
			case k == "nextToken" && text:
				v[k] = "a token"
			default:
				v[k] = normal(e, ids)
			}
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i], ids)
		}
	case string:
		for ours, theirs := range ids {
			v = strings.ReplaceAll(v, ours, theirs)
		}
		return v
	}
	return v
}

// TestCaptures replays what the AWS CLI sent, in the order in which it did.
func TestCaptures(t *testing.T) {
	f := newFixture(t, "my-cluster")
	ids := map[string]string{} // ours → captured
	for _, name := range []string{
		"list-clusters", "create-pod-identity-association", "create-duplicate-409", "create-no-cluster-404", "describe-pod-identity-association",
		"describe-not-found-404", "create-target-role", "create-session-policy", "list-pod-identity-associations", "list-filtered", "list-page-1", "list-page-2",
		"update-role-arn", "update-session-tags", "tag-resource", "list-tags-for-resource", "untag-resource", "delete-pod-identity-association",
	} {
		t.Run(name, func(t *testing.T) {
			c := readCapture(t, name)
			path, query := c.Request.Path, url.Values{}
			for ours, theirs := range ids {
				path = strings.ReplaceAll(path, theirs, ours)
			}
			for _, q := range c.Request.Query {
				query.Add(q[0], q[1])
			}
			if name == "list-page-2" { // its token is the other server's
				_, first := f.do("GET", path+"?maxResults=1", "")
				query.Set("nextToken", first["nextToken"].(string))
			}
			body := ""
			if c.Request.Body != nil {
				body = string(c.Request.Body.JSON)
			}
			w, got := f.do(c.Request.Method, path+"?"+query.Encode(), body)
			if strings.HasPrefix(name, "create-") && w.Code == 200 {
				ids[idOf(got)] = idOf(c.Response.Body.JSON)
			}
			checkAnswer(t, name, w, got, c, ids)
		})
	}
}

func idOf(body map[string]any) string {
	id, _ := body["association"].(map[string]any)["associationId"].(string)
	return id
}

func checkAnswer(t *testing.T, name string, w *httptest.ResponseRecorder, got map[string]any, c capture, ids map[string]string) {
	t.Helper()
	if w.Code != c.Response.Status || w.Header().Get("x-amzn-ErrorType") != c.Response.Headers["x-amzn-ErrorType"] {
		t.Errorf("%d %s, want %d: %v", w.Code, w.Header().Get("x-amzn-ErrorType"), c.Response.Status, got)
	}
	if w.Header().Get("Content-Type") != c.Response.Headers["Content-Type"] || w.Header().Get("x-amzn-RequestId") == "" {
		t.Errorf("headers %v", w.Header())
	}
	want := normal(c.Response.Body.JSON, ids)
	have := normal(got, ids)
	if strings.HasPrefix(name, "list-page") {
		// The order of the list is the server's own; the page is one of three.
		want.(map[string]any)["associations"] = keysOf(want)
		have.(map[string]any)["associations"] = keysOf(have)
	}
	// The other server listed by id.
	byName := cmpopts.SortSlices(func(a, b any) bool { return key(a) < key(b) })
	if d := cmp.Diff(want, have, byName); d != "" {
		t.Error(d)
	}
}

func key(v any) string {
	if m, ok := v.(map[string]any); ok {
		return m["namespace"].(string) + "/" + m["serviceAccount"].(string)
	}
	return v.(string)
}

// keysOf are the members of each association of a page.
func keysOf(body any) []any {
	var out []any
	for _, a := range body.(map[string]any)["associations"].([]any) {
		for k := range a.(map[string]any) {
			out = append(out, k)
		}
	}
	return out
}
