// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package smoke checks what the other tests of the inner-loop tier lean on: that
// the API server is a real one, with RBAC, admission, tokens and keys.
package smoke

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"podid/test/cluster/apiserver"
)

const audience = "pods.eks.amazonaws.com"

var server *apiserver.Server

func TestMain(m *testing.M) { os.Exit(apiserver.Main(m, &server, apiserver.Options{})) }

func newPod(t *testing.T, namespace, serviceAccount string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: namespace},
		Spec:       corev1.PodSpec{ServiceAccountName: serviceAccount, Containers: []corev1.Container{{Name: "c", Image: "example.test/c"}}},
	}
	made, err := server.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func review(t *testing.T, token string) authenticationv1.TokenReviewStatus {
	t.Helper()
	got, err := server.Client.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

func TestTokens(t *testing.T) {
	ns := server.Namespace(t, nil)
	server.ServiceAccount(t, ns, "app", nil)
	pod := newPod(t, ns, "app")
	token := server.Token(t, ns, "app", audience, pod)
	got := review(t, token)
	if !got.Authenticated || got.User.Username != "system:serviceaccount:"+ns+":app" {
		t.Errorf("the token's review says %+v", got)
	}
	if extra := got.User.Extra["authentication.kubernetes.io/pod-uid"]; !slices.Contains(extra, string(pod.UID)) {
		t.Errorf("the token is bound to pod %v, not %s", extra, pod.UID)
	}
}

func TestKeySwap(t *testing.T) {
	ns := server.Namespace(t, nil)
	old := server.Token(t, ns, "default", audience, nil)
	for _, step := range []struct {
		name     string
		keepOld  bool
		accepted bool
		keys     int
	}{{"old key kept", true, true, 2}, {"old key gone", false, false, 1}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := server.SwapTokenKey(ctx, step.keepOld); err != nil {
			t.Fatal(err)
		}
		if got := review(t, old).Authenticated; got != step.accepted {
			t.Errorf("%s: a token of the old key is accepted: %v", step.name, got)
		}
		fresh := server.Token(t, ns, "default", audience, nil)
		if !review(t, fresh).Authenticated {
			t.Errorf("%s: a token of the new key is refused", step.name)
		}
		ids := keyIDs(t)
		if len(ids) != step.keys || !slices.Contains(ids, headerKeyID(t, fresh)) {
			t.Errorf("%s: the key document has %v and the new token is of key %s", step.name, ids, headerKeyID(t, fresh))
		}
	}
}

func keyIDs(t *testing.T) (ids []string) {
	t.Helper()
	text, err := server.Client.Discovery().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Keys []struct {
			Kid string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, k := range doc.Keys {
		ids = append(ids, k.Kid)
	}
	return ids
}

func headerKeyID(t *testing.T, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var h struct {
		Kid string `json:"kid"`
	}
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	return h.Kid
}

func TestAuthorisation(t *testing.T) {
	ns := server.Namespace(t, nil)
	client, err := kubernetes.NewForConfig(server.AsServiceAccount(t, ns, "default"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("without a role: %v", err)
	}
	role := fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: %[1]s}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: default, namespace: %[1]s}]
`, ns)
	if err := server.Apply(t.Context(), []byte(role)); err != nil {
		t.Fatal(err)
	}
	apiserver.Eventually(t, 10*time.Second, "the role to be honoured", func(ctx context.Context) error {
		_, err := client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
		return err
	})
}

func TestAdmission(t *testing.T) {
	ns := server.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	_, err := server.Client.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.test/c"}}},
	}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "PodSecurity") {
		t.Errorf("a pod that restricted forbids: %v", err)
	}
}

func TestDryRunKeepsNothing(t *testing.T) {
	ns := server.Namespace(t, nil)
	manifest := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: %s}\ndata: {k: v}\n", ns)
	if err := server.DryRun(t.Context(), []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Client.CoreV1().ConfigMaps(ns).Get(t.Context(), "c", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the object is there: %v", err)
	}
	if err := server.DryRun(t.Context(), []byte(strings.Replace(manifest, "{k: v}", "{k: [v]}", 1))); err == nil {
		t.Error("an object of a wrong shape was let through")
	}
}
