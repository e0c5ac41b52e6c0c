// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/smithy-go"

	"podid/internal/controlplane/controlplanetest"
)

// createIn makes an association in a namespace.
func createIn(w *world, ns, sa, token string, change func(*eks.CreatePodIdentityAssociationInput)) (string, error) {
	in := &eks.CreatePodIdentityAssociationInput{ClusterName: &w.cl.Name, Namespace: &ns, ServiceAccount: &sa, RoleArn: &w.role}
	if token != "" {
		in.ClientRequestToken = &token
	}
	if change != nil {
		change(in)
	}
	out, err := w.EKS().CreatePodIdentityAssociation(context.Background(), in)
	if err != nil {
		return "", err
	}
	return *out.Association.AssociationId, nil
}

// parallel runs fn n times at once and returns what each gave.
func parallel(n int, fn func(i int) (string, error)) (ids []string, errs []error) {
	ids, errs = make([]string, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { ids[i], errs[i] = fn(i) })
	}
	all.Wait()
	return ids, errs
}

func TestRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	t.Run("request tokens", func(t *testing.T) { testRequestTokens(t, w) })
	t.Run("one wins", func(t *testing.T) { testOneWins(t, w) })
	t.Run("one token, many calls", func(t *testing.T) {
		ids, errs := parallel(50, func(int) (string, error) { return createIn(w, "race", "token", "same-token", nil) })
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		slices.Sort(ids)
		if ids = slices.Compact(ids); len(ids) != 1 {
			t.Errorf("ids %v", ids)
		}
	})
	t.Run("pages", func(t *testing.T) { testPages(t, w) })
}

func testRequestTokens(t *testing.T, w *world) {
	id, err := createIn(w, "tokens", "a", "token-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := createIn(w, "tokens", "a", "token-1", nil)
	if err != nil || again != id {
		t.Errorf("the same again: %s, %v, want %s", again, err, id)
	}
	_, err = createIn(w, "tokens", "a", "token-1", func(in *eks.CreatePodIdentityAssociationInput) { in.DisableSessionTags = aws.Bool(true) })
	wantAPIError(t, err, "InvalidParameterException", "clientRequestToken was used before")
	_, err = createIn(w, "tokens", "a", "token-2", nil)
	wantAPIError(t, err, "ResourceInUseException", "Association already exists: "+id)
	if _, err := w.EKS().DeletePodIdentityAssociation(context.Background(), &eks.DeletePodIdentityAssociationInput{ClusterName: &w.cl.Name, AssociationId: &id}); err != nil {
		t.Fatal(err)
	}
	_, err = w.EKS().DeletePodIdentityAssociation(context.Background(), &eks.DeletePodIdentityAssociationInput{ClusterName: &w.cl.Name, AssociationId: &id})
	wantAPIError(t, err, "ResourceNotFoundException", "")
	// A late repeat does not bring back what was deleted.
	_, err = createIn(w, "tokens", "a", "token-1", nil)
	wantAPIError(t, err, "ResourceNotFoundException", id)
	if _, err := createIn(w, "tokens", "a", "token-3", nil); err != nil {
		t.Error(err)
	}
}

// testOneWins: of many creations of one association exactly one goes well,
// and the others name it.
func testOneWins(t *testing.T, w *world) {
	ids, errs := parallel(100, func(int) (string, error) { return createIn(w, "race", "plain", "", nil) })
	won := ""
	for _, id := range ids {
		if id != "" && won != "" {
			t.Errorf("two won: %s and %s", won, id)
		}
		won = max(won, id)
	}
	for _, err := range errs {
		var api smithy.APIError
		if err != nil && (!errors.As(err, &api) || api.ErrorCode() != "ResourceInUseException" || !strings.Contains(api.ErrorMessage(), won)) {
			t.Errorf("refusal %v, want ResourceInUseException naming %s", err, won)
		}
	}
	ids, errs = parallel(100, func(i int) (string, error) { return createIn(w, "many", fmt.Sprintf("sa-%03d", i), "", nil) })
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 100 {
		t.Errorf("%d associations of 100", n)
	}
}

// testPages: pages neither lose nor repeat what is there from first to last,
// whatever is made and deleted between them.
func testPages(t *testing.T, w *world) {
	ctx, ns := context.Background(), "many"
	var seen []string
	var token *string
	for page := 0; ; page++ {
		out, err := w.EKS().ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{ClusterName: &w.cl.Name, Namespace: &ns, MaxResults: aws.Int32(17), NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range out.Associations {
			seen = append(seen, *a.ServiceAccount)
		}
		if token = out.NextToken; token == nil {
			break
		}
		// Behind, at, and before the place where the next page begins.
		last := out.Associations[len(out.Associations)-1]
		if _, err := w.EKS().DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: &w.cl.Name, AssociationId: last.AssociationId}); err != nil {
			t.Fatal(err)
		}
		for _, sa := range []string{fmt.Sprintf("aa-%d", page), fmt.Sprintf("zz-%d", page)} {
			if _, err := createIn(w, ns, sa, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		if page == 0 {
			_, err := w.EKS().ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{ClusterName: &w.cl.Name, Namespace: aws.String("race"), NextToken: token})
			wantAPIError(t, err, "InvalidParameterException", "")
		}
	}
	if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
		t.Errorf("pages repeat or are out of order: %v", seen)
	}
	for i := range 100 {
		if sa := fmt.Sprintf("sa-%03d", i); !slices.Contains(seen, sa) {
			t.Errorf("%s was lost", sa)
		}
	}
}

// TestRequestTokenEnds: a clientRequestToken is remembered for 24 hours.
func TestRequestTokenEnds(t *testing.T) {
	t.Parallel()
	clk := &clock{}
	w := newWorld(t, controlplanetest.Options{Now: clk.now})
	create := func(tags bool) controlplanetest.Answer {
		return rest(t, w.ControlPlane, w.Admin, "eks", "POST", "/clusters/my-cluster/pod-identity-associations", object{
			"namespace": "ns", "serviceAccount": "sa", "roleArn": w.role, "clientRequestToken": "t", "disableSessionTags": tags,
		})
	}
	if a := create(false); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	clk.advance(24*time.Hour - time.Minute)
	if a := create(false); a.Status != 200 {
		t.Errorf("after a day but a minute: %d %s", a.Status, a.Raw)
	}
	create(true).Want(t, 400, "InvalidParameterException", "")
	clk.advance(2 * time.Minute)
	create(false).Want(t, 409, "ResourceInUseException", "")
}

// TestAssociationLimit: the quota holds under concurrency.
func TestAssociationLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{Settings: map[string]string{"PODID_ASSOCIATION_LIMIT": "10"}})
	_, errs := parallel(30, func(i int) (string, error) { return createIn(w, "ns", fmt.Sprintf("sa-%d", i), "", nil) })
	refused := 0
	for _, err := range errs {
		if err != nil {
			refused++
			wantAPIError(t, err, "ResourceLimitExceededException", "has reached the limit of 10 pod identity associations")
		}
	}
	if n := len(listAssociations(t, w.EKS(), w.cl.Name)); n != 10 || refused != 21 {
		t.Errorf("%d associations, %d refusals; want 10 and 21", n, refused)
	}
}
