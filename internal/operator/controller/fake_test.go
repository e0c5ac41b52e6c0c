// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"podid/api/v1alpha1"
)

const (
	roleA = "arn:aws:iam::111122223333:role/app/a"
	roleB = "arn:aws:iam::111122223333:role/app/b"
	roleX = "arn:aws:iam::111122223333:role/admin"
)

// control is a control plane of one cluster: EKS, IAM and the feed.
type control struct {
	calls  []string
	by     map[string]*ekstypes.PodIdentityAssociation // by id
	next   int
	fail   map[string]error // by operation
	roles  map[string]bool
	before func(operation string) // runs before an operation
	behind map[string]bool        // ids that the feed does not tell yet
	stale  error
}

func (c *control) call(operation string) error {
	if c.before != nil {
		c.before(operation)
	}
	c.calls = append(c.calls, operation)
	return c.fail[operation]
}

func (c *control) clone(a *ekstypes.PodIdentityAssociation) *ekstypes.PodIdentityAssociation {
	out := *a
	out.Tags = maps.Clone(a.Tags)
	return &out
}

func (c *control) of(namespace, account string) *ekstypes.PodIdentityAssociation {
	for _, id := range slices.Sorted(maps.Keys(c.by)) {
		if a := c.by[id]; *a.Namespace == namespace && *a.ServiceAccount == account {
			return a
		}
	}
	return nil
}

// put makes an association behind everybody's back.
func (c *control) put(namespace, account, role string, tags map[string]string) *ekstypes.PodIdentityAssociation {
	c.next++
	id := fmt.Sprintf("a-%017d", c.next)
	a := &ekstypes.PodIdentityAssociation{
		AssociationId: &id, AssociationArn: aws.String("arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/" + id), ClusterName: aws.String("c"),
		Namespace: &namespace, ServiceAccount: &account, RoleArn: &role, Tags: maps.Clone(tags), DisableSessionTags: aws.Bool(false),
	}
	if a.Tags == nil {
		a.Tags = map[string]string{}
	}
	c.by[id] = a
	return a
}

func notFound(message string) error {
	return &ekstypes.ResourceNotFoundException{Message: &message}
}

func (c *control) ListPodIdentityAssociations(_ context.Context, in *eks.ListPodIdentityAssociationsInput, _ ...func(*eks.Options)) (*eks.ListPodIdentityAssociationsOutput, error) {
	if err := c.call("List"); err != nil {
		return nil, err
	}
	out := &eks.ListPodIdentityAssociationsOutput{}
	if a := c.of(*in.Namespace, *in.ServiceAccount); a != nil {
		out.Associations = append(out.Associations, ekstypes.PodIdentityAssociationSummary{AssociationId: a.AssociationId, Namespace: a.Namespace, ServiceAccount: a.ServiceAccount})
	}
	return out, nil
}

func (c *control) DescribePodIdentityAssociation(_ context.Context, in *eks.DescribePodIdentityAssociationInput, _ ...func(*eks.Options)) (*eks.DescribePodIdentityAssociationOutput, error) {
	if err := c.call("Describe"); err != nil {
		return nil, err
	}
	a, ok := c.by[*in.AssociationId]
	if !ok {
		return nil, notFound("No association found for id: " + *in.AssociationId)
	}
	return &eks.DescribePodIdentityAssociationOutput{Association: c.clone(a)}, nil
}

func (c *control) CreatePodIdentityAssociation(_ context.Context, in *eks.CreatePodIdentityAssociationInput, _ ...func(*eks.Options)) (*eks.CreatePodIdentityAssociationOutput, error) {
	if err := c.call("Create"); err != nil {
		return nil, err
	}
	if old := c.of(*in.Namespace, *in.ServiceAccount); old != nil {
		return nil, &ekstypes.ResourceInUseException{Message: aws.String("Association already exists: " + *old.AssociationId)}
	}
	a := c.put(*in.Namespace, *in.ServiceAccount, *in.RoleArn, in.Tags)
	a.TargetRoleArn, a.Policy, a.DisableSessionTags = in.TargetRoleArn, in.Policy, aws.Bool(aws.ToBool(in.DisableSessionTags))
	return &eks.CreatePodIdentityAssociationOutput{Association: c.clone(a)}, nil
}

func (c *control) UpdatePodIdentityAssociation(_ context.Context, in *eks.UpdatePodIdentityAssociationInput, _ ...func(*eks.Options)) (*eks.UpdatePodIdentityAssociationOutput, error) {
	if err := c.call("Update"); err != nil {
		return nil, err
	}
	a := c.by[*in.AssociationId]
	a.RoleArn, a.TargetRoleArn, a.Policy, a.DisableSessionTags = in.RoleArn, optional(*in.TargetRoleArn), optional(*in.Policy), in.DisableSessionTags
	return &eks.UpdatePodIdentityAssociationOutput{Association: c.clone(a)}, nil
}

func (c *control) DeletePodIdentityAssociation(_ context.Context, in *eks.DeletePodIdentityAssociationInput, _ ...func(*eks.Options)) (*eks.DeletePodIdentityAssociationOutput, error) {
	if err := c.call("Delete"); err != nil {
		return nil, err
	}
	if _, ok := c.by[*in.AssociationId]; !ok {
		return nil, notFound("No association found for id: " + *in.AssociationId)
	}
	delete(c.by, *in.AssociationId)
	return &eks.DeletePodIdentityAssociationOutput{}, nil
}

func (c *control) byARN(arn string) *ekstypes.PodIdentityAssociation {
	return c.by[arn[strings.LastIndexByte(arn, '/')+1:]]
}

func (c *control) TagResource(_ context.Context, in *eks.TagResourceInput, _ ...func(*eks.Options)) (*eks.TagResourceOutput, error) {
	if err := c.call("Tag"); err != nil {
		return nil, err
	}
	maps.Copy(c.byARN(*in.ResourceArn).Tags, in.Tags)
	return &eks.TagResourceOutput{}, nil
}

func (c *control) UntagResource(_ context.Context, in *eks.UntagResourceInput, _ ...func(*eks.Options)) (*eks.UntagResourceOutput, error) {
	if err := c.call("Untag"); err != nil {
		return nil, err
	}
	for _, k := range in.TagKeys {
		delete(c.byARN(*in.ResourceArn).Tags, k)
	}
	return &eks.UntagResourceOutput{}, nil
}

func (c *control) GetRole(_ context.Context, in *iam.GetRoleInput, _ ...func(*iam.Options)) (*iam.GetRoleOutput, error) {
	if err := c.fail["GetRole"]; err != nil {
		return nil, err
	}
	for arn, there := range c.roles {
		if there && strings.HasSuffix(arn, "/"+*in.RoleName) {
			return &iam.GetRoleOutput{Role: &iamtypes.Role{Arn: &arn}}, nil
		}
	}
	return nil, &iamtypes.NoSuchEntityException{Message: aws.String("none")}
}

func (c *control) Has(_ context.Context, namespace, account string) (bool, error) {
	_, _, ok := c.Known(namespace, account)
	return ok, c.stale
}

func (c *control) Known(namespace, account string) (string, int64, bool) {
	a := c.of(namespace, account)
	if a == nil || c.behind[*a.AssociationId] {
		return "", 0, false
	}
	return *a.AssociationId, 1, true
}

func (c *control) Changed() <-chan struct{} { return nil }

// changes are the calls that change something, since the last look.
func (c *control) changes() string {
	out := slices.DeleteFunc(c.calls, func(s string) bool { return s == "List" || s == "Describe" })
	c.calls = nil
	return strings.Join(out, " ")
}

// world is a cluster with its control plane.
type world struct {
	*control
	t      *testing.T
	c      client.Client
	r      *Reconciler
	now    time.Time
	events []string
	uid    int

	registry *prometheus.Registry
}

// counted is the metric of the objects whose Ready has a reason.
func (w *world) counted(reason string) (n float64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "podid_operator_associations" && l.GetName() == "reason" && l.GetValue() == reason {
					n += m.GetGauge().GetValue()
				}
			}
		}
	}
	return n
}

func (w *world) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	w.events = append(w.events, kind+" "+reason+": "+fmt.Sprintf(note, args...))
}

func newWorld(t *testing.T) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.PodIdentityAssociation{}).
		WithIndex(&v1alpha1.PodIdentityAssociation{}, accountIndex, accountOf).Build()
	w := &world{t: t, c: c, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), control: &control{
		by: map[string]*ekstypes.PodIdentityAssociation{}, fail: map[string]error{}, roles: map[string]bool{roleA: true, roleB: true, roleX: true}, behind: map[string]bool{},
	}}
	w.registry = prometheus.NewRegistry()
	m, err := NewMetrics(w.registry)
	if err != nil {
		t.Fatal(err)
	}
	w.r = newReconciler(Config{
		Cluster: "c", EKS: w.control, Roles: w.control, Feed: w.control, Metrics: m, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now },
	}, c, c, w)
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "apps", Labels: map[string]string{"team": "data"}}})
	return w
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.c.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// allow makes a policy for the roles below app/.
func (w *world) allow(name string, change ...func(*v1alpha1.PodIdentityRolePolicySpec)) *v1alpha1.PodIdentityRolePolicy {
	w.t.Helper()
	p := &v1alpha1.PodIdentityRolePolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PodIdentityRolePolicySpec{
		NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"team": "data"}}, ServiceAccounts: []v1alpha1.Pattern{"*"},
		RoleARNs: []v1alpha1.Pattern{"arn:aws:iam::111122223333:role/app/*"},
	}}
	for _, f := range change {
		f(&p.Spec)
	}
	w.create(p)
	return p
}

// ask makes an object for the service account sa.
func (w *world) ask(name, role string, change ...func(*v1alpha1.PodIdentityAssociation)) *v1alpha1.PodIdentityAssociation {
	w.t.Helper()
	w.uid++
	o := &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "apps", UID: types.UID(fmt.Sprintf("uid-%d", w.uid)), Generation: 1,
			CreationTimestamp: metav1.NewTime(w.now.Add(time.Duration(w.uid) * time.Second)),
		},
		Spec: v1alpha1.PodIdentityAssociationSpec{ServiceAccount: "sa", RoleARN: v1alpha1.RoleARN(role)},
	}
	for _, f := range change {
		f(o)
	}
	w.create(o)
	return o
}

// edit changes an object's spec as a person does.
func (w *world) edit(name string, change func(*v1alpha1.PodIdentityAssociation)) {
	w.t.Helper()
	o := w.get(name)
	change(o)
	o.Generation++
	if err := w.c.Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(o client.Object) {
	w.t.Helper()
	if err := w.c.Delete(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// get returns an object; nil when it is gone.
func (w *world) get(name string) *v1alpha1.PodIdentityAssociation {
	w.t.Helper()
	o := &v1alpha1.PodIdentityAssociation{}
	err := w.c.Get(w.t.Context(), types.NamespacedName{Namespace: "apps", Name: name}, o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// run reconciles an object and says when it is looked at next.
func (w *world) run(name string) time.Duration {
	w.t.Helper()
	w.calls = nil
	res, err := w.r.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "apps", Name: name}})
	if err != nil {
		w.t.Fatal(err)
	}
	return res.RequeueAfter
}

// want checks the conditions, as status and reason, in the order Ready, RoleResolved, Propagated.
func (w *world) want(name string, conditions ...string) {
	w.t.Helper()
	o := w.get(name)
	if o == nil {
		w.t.Fatalf("%s is gone", name)
	}
	for i, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionRoleResolved, v1alpha1.ConditionPropagated}[:len(conditions)] {
		c := meta.FindStatusCondition(o.Status.Conditions, kind)
		if c == nil {
			w.t.Errorf("%s has no condition %s", name, kind)
			continue
		}
		if got := string(c.Status) + " " + c.Reason; got != conditions[i] {
			w.t.Errorf("%s: %s = %s (%s), want %s", name, kind, got, c.Message, conditions[i])
		}
		if c.ObservedGeneration != o.Generation && kind == v1alpha1.ConditionReady {
			w.t.Errorf("%s: %s is of generation %d, the object of %d", name, kind, c.ObservedGeneration, o.Generation)
		}
	}
}

func (w *world) wantChanges(want string) {
	w.t.Helper()
	if got := w.changes(); got != want {
		w.t.Errorf("changed %q, want %q", got, want)
	}
}

func (w *world) wantEvent(text string) {
	w.t.Helper()
	if !slices.ContainsFunc(w.events, func(e string) bool { return strings.Contains(e, text) }) {
		w.t.Errorf("no event says %q:\n%s", text, strings.Join(w.events, "\n"))
	}
	w.events = nil
}

const (
	ready      = "True Ready"
	found      = "True RoleFound"
	propagated = "True Propagated"
)
