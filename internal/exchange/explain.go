// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/satoken"
	"podid/internal/session"
	"podid/internal/store"
)

// Verdict is what a step came to.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Open    Verdict = "open"        // cannot be decided with what was given
	Skipped Verdict = "not reached" // an earlier step failed
)

// StepReport is one step and its verdict.
type StepReport struct {
	Step    string   `json:"step"`
	Verdict Verdict  `json:"verdict"`
	Note    string   `json:"note,omitempty"`
	Open    []string `json:"open,omitempty"` // condition keys that were not known
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Detail  any      `json:"detail,omitempty"` // the statement and condition that failed
}

// Trace collects the reports of a run. A nil Trace collects nothing, at no
// cost: the hot path passes nil.
type Trace struct {
	reports []StepReport
	pending string // note for the step that is running
}

func (t *Trace) note(format string, args ...any) {
	if t != nil {
		t.pending = fmt.Sprintf(format, args...)
	}
}

// Report adds a step of an Issuer.
func (t *Trace) Report(r StepReport) {
	if t != nil {
		t.reports = append(t.reports, r)
	}
}

// Reports are what was reported so far.
func (t *Trace) Reports() []StepReport { return t.reports }

// ExplainRequest asks what an exchange would come to. Token beats the fields
// that describe a pod.
type ExplainRequest struct {
	ClusterName, Namespace, ServiceAccount string
	Pod, PodUID, Node                      string
	Token                                  string
	Actions                                []ActionQuestion
}

// ActionQuestion asks whether the session would be allowed something.
type ActionQuestion struct{ Action, Resource string }

// ActionAnswer is the answer.
type ActionAnswer struct {
	Action   string             `json:"action"`
	Resource string             `json:"resource"`
	Allowed  bool               `json:"allowed"`
	Policy   string             `json:"policy,omitempty"` // the document that decided
	Detail   policy.Explanation `json:"detail"`
}

// ActionChecker tells what a session may do.
type ActionChecker interface {
	Explain(ctx context.Context, v *store.View, c iam.Caller, q iam.Query) (policy.Explanation, error)
}

// Explanation is the whole answer. WouldIssue is true when every step passed
// or is open only for want of a pod.
type Explanation struct {
	WouldIssue bool           `json:"wouldIssue"`
	Steps      []StepReport   `json:"steps"`
	Actions    []ActionAnswer `json:"actions,omitempty"`
}

// Explain runs the exchange's own steps in trace mode on the newest records
// and issues nothing. The caller step stands for the agents of the cluster's
// node role, when there is one. It needs podid:Explain on the cluster.
func (s *Service) Explain(ctx context.Context, caller iam.Caller, in ExplainRequest) (*Explanation, error) {
	v, err := s.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	e := &exchange{s: s, view: v, in: Request{in.ClusterName, in.Token}, trace: &Trace{}, given: &in, caller: caller}
	if err := s.Authz.Authorize(ctx, caller, e.query(ActionExplain)); err != nil {
		return nil, err
	}
	if in.Token == "" && (in.Namespace == "" || in.ServiceAccount == "") {
		return nil, fault.New(fault.InvalidParameter, "Either a token or namespace and service account are required.").WithReason("missing-parameter")
	}
	e.claims = satoken.Claims{Namespace: in.Namespace, ServiceAccount: in.ServiceAccount, PodName: in.Pod, PodUID: in.PodUID, NodeName: in.Node}
	e.caller, e.agent = e.nodeAgent()
	out := &Explanation{}
	if out.WouldIssue, err = e.explain(ctx); err != nil {
		return nil, err
	}
	if out.WouldIssue {
		out.Actions, err = e.answer(ctx, in.Actions)
	}
	out.Steps = e.trace.reports
	return out, err
}

// NodeRoleName is the name of the role that a cluster's agents sign with, as
// `podid register cluster` makes it: podid-node- and the cluster's name; a name
// that would be too long for a role ends in a hash of the cluster's name.
func NodeRoleName(clusterName string) string {
	const prefix, longest = "podid-node-", 64
	if len(prefix)+len(clusterName) <= longest {
		return prefix + clusterName
	}
	sum := sha256.Sum256([]byte(clusterName))
	hash := "-" + hex.EncodeToString(sum[:4])
	return prefix + clusterName[:longest-len(prefix)-len(hash)] + hash
}

// nodeAgent is a session of the cluster's node role, if cluster and role are
// there: the caller that an exchange ordinarily has.
func (e *exchange) nodeAgent() (iam.Caller, bool) {
	c, ok := cluster.Clusters.Get(e.view, e.s.Scope, e.in.ClusterName)
	if !ok {
		return iam.Caller{}, false
	}
	role, ok := iam.FindRole(e.view, c.Account, NodeRoleName(c.Name))
	if !ok {
		return iam.Caller{}, false
	}
	now := e.s.Now()
	return sessionCaller(&session.Session{
		Partition: role.Partition, Account: role.Account, RoleID: role.ID, RolePath: role.Path, RoleName: role.Name, Name: "explain",
		Issued: now, Expires: now.Add(time.Hour), FederatedProvider: c.ProviderARN(), Node: session.Node{ClusterUID: c.UID, Name: e.claims.NodeName},
	}, role), true
}

// explain runs every step it can and reports whether none failed. A store that
// is away is an error: it says nothing about the exchange.
func (e *exchange) explain(ctx context.Context) (bool, error) {
	failed := false
	for i := range steps {
		st := &steps[i]
		if failed {
			e.trace.Report(StepReport{Step: st.name, Verdict: Skipped})
			continue
		}
		if st.skip != nil {
			if why := st.skip(e); why != "" {
				e.trace.Report(StepReport{Step: st.name, Verdict: Open, Note: why})
				continue
			}
		}
		e.trace.pending = ""
		before := len(e.trace.reports)
		err := st.run(ctx, e)
		switch {
		case fault.Is(err, fault.Unavailable):
			return false, err
		case err != nil:
			failed = true
			if len(e.trace.reports) == before || e.trace.reports[len(e.trace.reports)-1].Verdict != Fail {
				rep := failure(st.name, err)
				rep.Note = e.trace.pending
				e.trace.Report(rep)
			}
		case len(e.trace.reports) == before: // an Issuer reports its own steps
			e.trace.Report(StepReport{Step: st.name, Verdict: Pass, Note: e.trace.pending})
		}
	}
	return !failed, nil
}

func failure(name string, err error) StepReport {
	f := fault.As(err)
	if f.Kind == fault.Internal {
		return StepReport{Step: name, Verdict: Fail, Reason: cmp.Or(f.Reason, "internal"), Message: "An internal error."}
	}
	return StepReport{Step: name, Verdict: Fail, Reason: f.Reason, Message: f.Message, Detail: f.Detail}
}

const dependsOnAgent = "not checked: it depends on the agent that asks"

func skipCaller(e *exchange) string {
	if !e.agent && e.in.ClusterName != "" {
		return dependsOnAgent + "; there is no role " + NodeRoleName(e.in.ClusterName)
	}
	return ""
}

func skipToken(e *exchange) string {
	if e.given.Token == "" {
		return "not checked: no token was given"
	}
	return ""
}

// skipNode: without the agent's role, or without the pod's node, there are not
// two nodes to compare.
func skipNode(e *exchange) string {
	switch {
	case !e.agent:
		return dependsOnAgent
	case e.given.Token == "" && e.given.Node == "" && e.cluster.NodeBinding != cluster.NodeBindingOff:
		return "not checked: the pod's node is not known"
	}
	return ""
}

// answer asks what the session would be allowed.
func (e *exchange) answer(ctx context.Context, questions []ActionQuestion) ([]ActionAnswer, error) {
	var out []ActionAnswer
	if e.issued != nil && e.issued.Session == nil && len(questions) > 0 {
		e.trace.Report(StepReport{Step: "actions", Verdict: Open, Note: "not checked: the policies of the session are not podid's"})
	}
	if e.s.Checker == nil || e.issued == nil || e.issued.Session == nil {
		return nil, nil
	}
	c := sessionCaller(e.issued.Session, e.issued.Role)
	for _, q := range questions {
		x, err := e.s.Checker.Explain(ctx, e.view, c, iam.Query{Action: q.Action, Resource: q.Resource})
		if err != nil {
			return nil, err
		}
		answer := ActionAnswer{Action: q.Action, Resource: q.Resource, Allowed: x.Decision.Allowed}
		if c.Account == e.s.Scope.Account {
			// The policies of another account's target role are not for this one.
			answer.Policy, answer.Detail = x.Decision.Source.Document, x
		}
		out = append(out, answer)
	}
	return out, nil
}

func sessionCaller(s *session.Session, role *iam.Role) iam.Caller {
	return iam.Caller{Kind: iam.CallerSession, Partition: s.Partition, Account: s.Account, ARN: s.ARN(), UserID: s.AssumedRoleID(), Role: role, Session: s}
}
