// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/api/v1alpha1"
)

func adoption(p *v1alpha1.PodIdentityRolePolicySpec) { p.AllowAdoption = true }

func TestDeniedByDefault(t *testing.T) {
	w := newWorld(t)
	w.ask("a", roleA)
	if after := w.run("a"); after < refusedAgain {
		t.Errorf("looks again after %v", after)
	}
	w.wantChanges("")
	w.want("a", "False RoleNotAllowed", "Unknown NotJudged", "False NotBound")
	w.wantEvent("Warning RoleNotAllowed: No PodIdentityRolePolicy allows " + roleA + " to the service account sa")
	if got := w.get("a").Finalizers; len(got) > 0 {
		t.Errorf("an object without association has the finalizers %v", got)
	}
	w.allow("other", func(p *v1alpha1.PodIdentityRolePolicySpec) { p.RoleARNs = []v1alpha1.Pattern{roleB} })
	w.run("a")
	w.wantChanges("")
	w.want("a", "False RoleNotAllowed")
	if n := w.counted("RoleNotAllowed"); n != 1 {
		t.Errorf("the metric counts %v", n)
	}
}

func TestBound(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA, func(o *v1alpha1.PodIdentityAssociation) {
		o.Spec.Tags = map[string]v1alpha1.TagValue{"cost": "7"}
		o.Spec.Policy, o.Spec.DisableSessionTags = `{"Version":"2012-10-17","Statement":[]}`, true
	})
	if after := w.run("a"); after < DefaultResync*9/10 {
		t.Errorf("looks again after %v", after)
	}
	w.wantChanges("Create")
	w.want("a", ready, found, propagated)
	live, o := w.of("apps", "sa"), w.get("a")
	if diff := cmp.Diff(map[string]string{"cost": "7", OwnerTag: "uid-1", ObjectTag: "a"}, live.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if *live.RoleArn != roleA || *live.Policy != o.Spec.Policy || !*live.DisableSessionTags {
		t.Errorf("bound %+v", live)
	}
	if o.Status.AssociationID != *live.AssociationId || o.Status.AssociationARN != *live.AssociationArn || o.Status.ClusterName != "c" || o.Status.ObservedGeneration != 1 {
		t.Errorf("status is %+v", o.Status)
	}
	if !slices.Equal(o.Finalizers, []string{Finalizer}) {
		t.Errorf("finalizers are %v", o.Finalizers)
	}
	w.wantEvent("Normal Ready: The association is in force; PodIdentityRolePolicy p allows it.")
	version := o.ResourceVersion
	w.run("a")
	w.wantChanges("")
	if w.get("a").ResourceVersion != version {
		t.Error("an object without news was written")
	}

	w.edit("a", func(o *v1alpha1.PodIdentityAssociation) {
		o.Spec.RoleARN, o.Spec.Policy, o.Spec.DisableSessionTags, o.Spec.Tags = roleB, "", false, map[string]v1alpha1.TagValue{"x": "y"}
	})
	live.Tags["by-others"] = "stays"
	w.run("a")
	w.wantChanges("Tag Untag Update")
	w.want("a", ready, found, propagated)
	if *live.RoleArn != roleB || aws.ToString(live.Policy) != "" || *live.DisableSessionTags {
		t.Errorf("after the edit it is %+v", live)
	}
	if diff := cmp.Diff(map[string]string{"x": "y", "by-others": "stays", OwnerTag: "uid-1", ObjectTag: "a"}, live.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	w.delete(w.get("a"))
	w.run("a")
	w.wantChanges("Delete")
	if w.get("a") != nil || len(w.by) > 0 {
		t.Error("something is left")
	}
	w.wantEvent("Normal Deleted")
	if n := w.counted("Ready"); n != 0 {
		t.Errorf("the metric still counts %v", n)
	}
}

func TestKilledAfterCreation(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.put("apps", "sa", roleA, map[string]string{OwnerTag: "uid-1", ObjectTag: "a"}) // its status was never written
	w.run("a")
	w.wantChanges("")
	w.want("a", ready, found, propagated)
	if !slices.Contains(w.get("a").Finalizers, Finalizer) {
		t.Error("no finalizer")
	}
}

func TestDrift(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.run("a")
	live := w.of("apps", "sa")
	live.RoleArn = aws.String(roleX)
	live.TargetRoleArn = aws.String("arn:aws:iam::444455556666:role/t")
	w.run("a")
	w.wantChanges("Update")
	if *live.RoleArn != roleA || live.TargetRoleArn != nil {
		t.Errorf("not repaired: %+v", live)
	}
	live.RoleArn = aws.String(roleX) // and again
	w.run("a")
	w.wantChanges("")
	w.want("a", "Unknown Retrying")
	w.now = w.now.Add(repairSpacing)
	w.run("a")
	w.wantChanges("Update")
	delete(live.Tags, ObjectTag)
	w.run("a")
	w.wantChanges("Tag")
	delete(w.by, *live.AssociationId)
	w.run("a")
	w.wantChanges("Create")
	w.want("a", ready, found, propagated)
}

// TestDriftAfterRefusals: an update that was refused is no repair.
func TestDriftAfterRefusals(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.run("a")
	w.edit("a", func(o *v1alpha1.PodIdentityAssociation) { o.Spec.RoleARN = roleB })
	w.fail["Update"] = refusal("AccessDeniedException", "User: x is not authorized to perform: iam:PassRole on resource: y")
	for range 3 {
		w.run("a")
		w.want("a", "False RoleNotPassable")
	}
	w.fail = map[string]error{}
	w.run("a")
	w.wantChanges("Update")
	w.want("a", ready)
}

func TestWithdrawn(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*world, *v1alpha1.PodIdentityRolePolicy)
	}{
		{"policy deleted", func(w *world, p *v1alpha1.PodIdentityRolePolicy) { w.delete(p) }},
		{"policy narrowed", func(w *world, p *v1alpha1.PodIdentityRolePolicy) {
			p.Spec.ServiceAccounts = []v1alpha1.Pattern{"other"}
			if err := w.c.Update(w.t.Context(), p); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"drifted to a role that is not allowed, policy deleted", func(w *world, p *v1alpha1.PodIdentityRolePolicy) {
			w.of("apps", "sa").RoleArn = aws.String(roleX)
			w.delete(p)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.allow("p")
			w.ask("a", roleA)
			w.run("a")
			tc.end(w, p)
			w.run("a")
			w.wantChanges("Delete")
			w.want("a", "False RoleNotAllowed", "Unknown NotJudged", "False NotBound")
			w.wantEvent("Warning Withdrawn")
			o := w.get("a")
			if len(o.Finalizers) > 0 || o.Status.AssociationID != "" {
				t.Errorf("finalizers %v, status %+v", o.Finalizers, o.Status)
			}
			w.allow("again")
			w.run("a")
			w.wantChanges("Create")
			w.want("a", ready)
		})
	}
}

// TestEditNotAllowed: what was allowed before stays while it is allowed.
func TestEditNotAllowed(t *testing.T) {
	w := newWorld(t)
	p := w.allow("p")
	w.ask("a", roleA)
	w.run("a")
	w.edit("a", func(o *v1alpha1.PodIdentityAssociation) { o.Spec.RoleARN = roleX })
	w.run("a")
	w.wantChanges("")
	w.want("a", "False RoleNotAllowed", "Unknown NotJudged", propagated)
	if *w.of("apps", "sa").RoleArn != roleA {
		t.Error("a role that is not allowed was bound")
	}
	w.edit("a", func(o *v1alpha1.PodIdentityAssociation) {
		o.Spec.RoleARN, o.Spec.TargetRoleARN = roleA, "arn:aws:iam::444455556666:role/t"
	})
	w.run("a")
	w.wantChanges("")
	w.want("a", "False RoleNotAllowed")
	w.delete(p)
	w.run("a")
	w.wantChanges("Delete")
}

func TestOthersAssociation(t *testing.T) {
	for _, tc := range []struct {
		name                      string
		policy                    []func(*v1alpha1.PodIdentityRolePolicySpec)
		tags                      map[string]string
		owner                     string
		deletion                  v1alpha1.DeletionPolicy
		ready, changes, afterward string // calls of its deletion
	}{
		{"nobody's", nil, nil, "", "", "False Conflict", "", ""},
		{"somebody's with tags", nil, map[string]string{"team": "x"}, "", "", "False Conflict", "", ""},
		{"an add-on's", []func(*v1alpha1.PodIdentityRolePolicySpec){adoption}, nil, "arn:aws:eks:us-east-1:111122223333:addon/c/x/1", "", "False Conflict", "", ""},
		{"adopted", []func(*v1alpha1.PodIdentityRolePolicySpec){adoption}, nil, "", "", ready, "Tag Tag Update", "Untag"},
		{"adopted and deleted", []func(*v1alpha1.PodIdentityRolePolicySpec){adoption}, nil, "", v1alpha1.DeletionDelete, ready, "Tag Tag Update", "Delete"},
		{"of an object that is gone", nil, map[string]string{OwnerTag: "gone", ObjectTag: "a"}, "", "", ready, "Tag Update", "Delete"},
		{"of an object that is gone, retained", nil, map[string]string{OwnerTag: "gone", ObjectTag: "a"}, "", v1alpha1.DeletionRetain, ready, "Tag Update", "Untag"},
		{"adopted by an object that is gone", nil, map[string]string{OwnerTag: "gone", AdoptedTag: AdoptedAsIs}, "", "", ready, "Tag Tag Update", "Untag"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.allow("p", tc.policy...)
			live := w.put("apps", "sa", roleX, tc.tags)
			live.OwnerArn = optional(tc.owner)
			w.ask("a", roleA, func(o *v1alpha1.PodIdentityAssociation) { o.Spec.DeletionPolicy = tc.deletion })
			w.run("a")
			w.wantChanges(tc.changes)
			w.want("a", tc.ready)
			bound := tc.ready == ready
			if o := w.get("a"); (len(o.Finalizers) > 0) != bound || (o.Status.AssociationID != "") != bound {
				t.Errorf("finalizers %v, status %+v", o.Finalizers, o.Status)
			}
			if !bound && *live.RoleArn != roleX {
				t.Error("an association of others was changed")
			}
			w.delete(w.get("a"))
			w.run("a")
			w.wantChanges(tc.afterward)
			if w.get("a") != nil {
				t.Error("the object stays")
			}
			if tc.afterward == "Untag" && (live.Tags[OwnerTag] != "" || live.Tags[AdoptedTag] != "" || live.Tags[ObjectTag] != "") {
				t.Errorf("what stays has the tags %v", live.Tags)
			}
		})
	}
}

// TestAdoptionWithdrawn: an association that is as it was before the object
// is let go, one that the object has changed ends.
func TestAdoptionWithdrawn(t *testing.T) {
	for _, tc := range []struct{ name, role, changes string }{
		{"as it was", roleA, "Untag"},
		{"changed", roleX, "Delete"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.allow("p", adoption)
			w.put("apps", "sa", tc.role, nil)
			w.ask("a", roleA)
			w.run("a")
			w.want("a", ready)
			if !w.get("a").Status.Adopted {
				t.Error("the status does not say that it was adopted")
			}
			w.delete(p)
			w.run("a")
			w.wantChanges(tc.changes)
			w.want("a", "False RoleNotAllowed")
		})
	}
}

func TestRivals(t *testing.T) {
	w := newWorld(t)
	w.allow("p", adoption)
	w.ask("older", roleA)
	w.ask("newer", roleB)
	w.run("newer")
	w.wantChanges("")
	w.want("newer", "False Conflict", "Unknown NotJudged", "False NotBound")
	w.run("older")
	w.want("older", ready)
	w.run("newer")
	w.wantChanges("")
	w.delete(w.get("older"))
	w.run("older")
	w.run("newer")
	w.wantChanges("Create")
	w.want("newer", ready)
}

// TestRivalsOfOneSecond: who is bound stays bound.
func TestRivalsOfOneSecond(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	at := metav1.NewTime(w.now)
	w.ask("b", roleA, func(o *v1alpha1.PodIdentityAssociation) { o.CreationTimestamp, o.UID = at, "z" })
	w.run("b")
	w.want("b", ready)
	w.ask("a", roleB, func(o *v1alpha1.PodIdentityAssociation) { o.CreationTimestamp, o.UID = at, "a" })
	w.run("a")
	w.want("a", "False Conflict")
	w.run("b")
	w.want("b", ready)
}

func TestLostRace(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.before = func(operation string) {
		if operation == "Create" {
			w.put("apps", "sa", roleX, nil)
		}
	}
	if after := w.run("a"); after > 5*time.Second {
		t.Errorf("looks again after %v", after)
	}
	w.want("a", "False Conflict")
	w.before = nil
	w.run("a")
	w.wantChanges("")
	w.want("a", "False Conflict")
	if *w.of("apps", "sa").RoleArn != roleX {
		t.Error("the association of who was faster was changed")
	}
}

func refusal(code, message string) error {
	return &smithy.GenericAPIError{Code: code, Message: message, Fault: smithy.FaultClient}
}

func away() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func TestSetbacks(t *testing.T) {
	for _, tc := range []struct {
		name        string
		operation   string
		err         error
		ready, role string
		slow        bool
	}{
		{"away", "List", away(), "Unknown ControlPlaneAway", "Unknown ControlPlaneAway", false},
		{"a server's fault", "Create", &ekstypes.ServerException{Message: aws.String("x")}, "Unknown ControlPlaneAway", "Unknown ControlPlaneAway", false},
		{"throttled", "List", refusal("ThrottlingException", "slow down"), "Unknown Throttled", "Unknown Throttled", false},
		{"denied", "Create", refusal("AccessDeniedException", "User: x is not authorized to perform: eks:CreatePodIdentityAssociation"), "False AccessDenied", "Unknown NotJudged", true},
		{"role not passable", "Create", refusal("AccessDeniedException", "User: x is not authorized to perform: iam:PassRole on resource: y"), "False RoleNotPassable", "False RoleNotPassable", true},
		{"role of another account", "Create", refusal("AccessDeniedException", "Cross-account pass role is not allowed."), "False RoleNotPassable", "False RoleNotPassable", true},
		{"no role", "Create", &ekstypes.InvalidParameterException{Message: aws.String("Role provided in the request does not exist.")}, "False RoleNotFound", "False RoleNotFound", true},
		{"no trust", "Create", &ekstypes.InvalidParameterException{Message: aws.String("Trust policy of the role provided is invalid.")}, "False RoleDoesNotTrust", "False RoleDoesNotTrust", true},
		{"malformed policy", "Create", &ekstypes.InvalidParameterException{Message: aws.String("The policy is not valid")}, "False InvalidSpec", "Unknown NotJudged", true},
		{"no cluster", "List", notFound("No cluster found for name: c."), "False ClusterNotFound", "Unknown NotJudged", true},
		{"quota", "Create", &ekstypes.ResourceLimitExceededException{Message: aws.String("x")}, "False LimitExceeded", "Unknown NotJudged", true},
		{"something else", "Create", refusal("TeapotException", "x"), "False Refused", "Unknown NotJudged", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.allow("p")
			w.ask("a", roleA)
			w.fail[tc.operation] = tc.err
			first := w.run("a")
			w.want("a", tc.ready, tc.role)
			events := len(w.events)
			last := first
			for range 12 {
				last = w.run("a")
			}
			if len(w.events) != events {
				t.Errorf("the same news were told again: %q", w.events)
			}
			if (first >= refusedAgain) != tc.slow || last < mostBackoff {
				t.Errorf("tried again after %v and at last %v", first, last)
			}
			w.fail = map[string]error{}
			w.run("a")
			w.want("a", ready, found, propagated)
		})
	}
}

// TestOutageOfBound: a control plane that is away takes nothing away.
func TestOutageOfBound(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.run("a")
	id := w.get("a").Status.AssociationID
	w.fail["List"] = away()
	w.run("a")
	w.want("a", "Unknown ControlPlaneAway", found, propagated)
	if o := w.get("a"); o.Status.AssociationID != id || len(o.Finalizers) == 0 {
		t.Errorf("status %+v", o.Status)
	}
}

func TestDeletionHindered(t *testing.T) {
	for _, tc := range []struct {
		name, operation string
		err             error
		ready           string
	}{
		{"away", "List", away(), "Unknown ControlPlaneAway"},
		{"away in between", "Delete", away(), "Unknown ControlPlaneAway"},
		{"denied", "Delete", refusal("AccessDeniedException", "User: x is not authorized to perform: eks:DeletePodIdentityAssociation"), "False DeletionHindered"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.allow("p")
			w.ask("a", roleA)
			w.run("a")
			w.fail[tc.operation] = tc.err
			w.delete(w.get("a"))
			if after := w.run("a"); after <= 0 {
				t.Error("is not tried again")
			}
			w.want("a", tc.ready)
			if len(w.by) == 0 || !slices.Contains(w.get("a").Finalizers, Finalizer) {
				t.Error("the association is forgotten")
			}
			w.fail = map[string]error{}
			w.run("a")
			if w.get("a") != nil || len(w.by) > 0 {
				t.Error("something is left")
			}
		})
	}
}

func TestDeletionWithoutCluster(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.run("a")
	w.fail["List"] = notFound("No cluster found for name: c.")
	w.delete(w.get("a"))
	w.run("a")
	if w.get("a") != nil {
		t.Error("the object stays without its cluster")
	}
}

// TestDeletionOfStrangers: an association that is not the object's any more survives it.
func TestDeletionOfStrangers(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.run("a")
	delete(w.of("apps", "sa").Tags, OwnerTag)
	w.delete(w.get("a"))
	w.run("a")
	w.wantChanges("")
	if w.get("a") != nil || len(w.by) != 1 {
		t.Error("the association of others was deleted, or the object stays")
	}
}

func TestRoleDeleted(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.run("a")
	w.roles[roleA] = false
	w.run("a")
	w.wantChanges("")
	w.want("a", "False RoleDeleted", "False RoleDeleted", propagated)
	w.roles[roleA] = true
	w.run("a")
	w.want("a", ready, found, propagated)
}

// TestRoleOfAnotherIssuer: IAM does not know it, the control plane accepts it.
func TestRoleOfAnotherIssuer(t *testing.T) {
	w := newWorld(t)
	w.roles = nil
	w.allow("p")
	w.ask("a", roleA)
	w.fail["Create"] = &ekstypes.InvalidParameterException{Message: aws.String("Role provided in the request does not exist.")}
	w.run("a")
	w.want("a", "False RoleNotFound", "False RoleNotFound")
	w.fail = map[string]error{}
	for range 2 {
		w.run("a")
		w.want("a", ready, "True RoleAccepted", propagated)
	}
}

func TestNotPropagated(t *testing.T) {
	w := newWorld(t)
	w.allow("p")
	w.ask("a", roleA)
	w.behind["a-00000000000000001"] = true
	w.run("a")
	w.want("a", "False NotPropagated", found, "False NotPropagated")
	w.stale = errors.New("the control plane is away")
	w.run("a")
	w.want("a", "False NotPropagated", found, "Unknown FeedBehind")
	w.behind = nil
	w.run("a")
	w.want("a", ready, found, propagated)
}

func TestSighted(t *testing.T) {
	w := newWorld(t)
	o := w.ask("a", roleA)
	if w.r.sighted(o) != false {
		t.Error("nothing is news")
	}
	live := w.put("apps", "sa", roleA, nil)
	if !w.r.sighted(o) || w.r.sighted(o) {
		t.Error("an association is news once")
	}
	delete(w.by, *live.AssociationId)
	if !w.r.sighted(o) {
		t.Error("its deletion is news")
	}
}

func TestShort(t *testing.T) {
	for _, n := range []int{0, 999, 1000} {
		if got := short(strings.Repeat("x", n)); len(got) != n {
			t.Errorf("%d became %d", n, len(got))
		}
	}
}
