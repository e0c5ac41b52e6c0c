// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

type explainInput struct {
	subject
	pod, podUID, node, tokenFile string
	actions, resources           []string
}

func (a *app) explain() *cobra.Command {
	var in explainInput
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say step by step whether a service account's pods get credentials, and why not",
		Long: `Run the steps of an exchange on the server without issuing anything, and print what each came to:

  ✓ passed   ✗ failed   ? open: it depends on the pod or on the agent   – not reached

For a refusal the statement is shown that nearly allowed it, and the condition that failed. Without
--pod conditions on the pod stay open and are named; with --token-file a token is checked as an agent
would send it. --action and --resource ask, once per pair, what the session would be allowed.
It needs podid:Explain on the cluster.

The exit status is 0 only when credentials would be issued and every --action would be allowed, else 3.`,
		Example: `  podid explain --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa
  podid explain --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa --pod app-1 \
    --action s3:GetObject --resource arn:aws:s3:::bucket/key --action s3:ListAllMyBuckets --resource '*'
  podid explain --cluster my-cluster --token-file ./token`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask, err := in.request()
			if err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.Podid.Explain(cmd.Context(), in.cluster, ask)
			if err != nil {
				return err
			}
			if err := a.print(out, func(w io.Writer) error { return writeExplanation(w, out) }); err != nil {
				return err
			}
			if !granted(out, len(ask.Actions)) {
				return exit(StatusRefused)
			}
			return nil
		},
	}
	a.subjectFlags(cmd, &in.subject)
	f := cmd.Flags()
	f.StringVar(&in.pod, "pod", "", "`name` of the pod")
	f.StringVar(&in.podUID, "pod-uid", "", "`uid` of the pod")
	f.StringVar(&in.node, "node", "", "`name` of the pod's node")
	f.StringVar(&in.tokenFile, "token-file", "", "`file` of a service account token to check; it beats what describes a pod")
	f.StringArrayVar(&in.actions, "action", nil, "`action` that the session might want: s3:GetObject; may be given again")
	f.StringArrayVar(&in.resources, "resource", nil, "`ARN` for the --action before it; * without it")
	return cmd
}

func (in *explainInput) request() (clients.ExplainInput, error) {
	ask := clients.ExplainInput{Namespace: in.namespace, ServiceAccount: in.serviceAccount, PodName: in.pod, PodUID: in.podUID, NodeName: in.node}
	if in.tokenFile != "" {
		text, err := os.ReadFile(in.tokenFile)
		if err != nil {
			return ask, usagef("--token-file: %w", err)
		}
		if ask.Token = strings.TrimSpace(string(text)); ask.Token == "" {
			return ask, usagef("--token-file: %s is empty", in.tokenFile)
		}
		if err := missing("cluster", in.cluster); err != nil {
			return ask, err
		}
	} else if err := in.check(); err != nil {
		return ask, err
	}
	if len(in.resources) > 0 && len(in.resources) != len(in.actions) {
		return ask, usagef("%d --action and %d --resource: give one resource for each action, or none", len(in.actions), len(in.resources))
	}
	for i, action := range in.actions {
		q := clients.ActionAsked{Action: action, Resource: "*"}
		if len(in.resources) > 0 {
			q.Resource = in.resources[i]
		}
		ask.Actions = append(ask.Actions, q)
	}
	return ask, nil
}

// granted reports whether credentials would be issued and every action that
// was asked about allowed.
func granted(x *clients.Explanation, asked int) bool {
	if !x.WouldIssue || len(x.Actions) != asked {
		return false
	}
	for _, q := range x.Actions {
		if !q.Allowed {
			return false
		}
	}
	return true
}

var marks = map[string]string{clients.Pass: "✓", clients.Fail: "✗", clients.Open: "?", clients.NotReached: "–"}

func writeExplanation(w io.Writer, x *clients.Explanation) error {
	p := &printer{w: w}
	for _, s := range x.Steps {
		mark, ok := marks[s.Verdict]
		if !ok {
			mark = s.Verdict
		}
		p.line("%s %s", mark, s.Step)
		p.more("", s.Note)
		p.more("depends on ", strings.Join(s.Open, ", "))
		if s.Verdict == clients.Fail {
			p.more("", s.Message)
			p.more("reason: ", s.Reason)
			p.detail(s.Detail)
		}
	}
	switch {
	case !x.WouldIssue:
		p.line("\nCredentials would be refused.")
	case open(x):
		p.line("\nCredentials would be issued, if what is open (?) holds.")
	default:
		p.line("\nCredentials would be issued.")
	}
	for _, q := range x.Actions {
		p.action(q)
	}
	return p.err
}

// open reports whether a step depends on a pod that is not known.
func open(x *clients.Explanation) bool {
	for _, s := range x.Steps {
		if s.Verdict == clients.Open && len(s.Open) > 0 {
			return true
		}
	}
	return false
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) more(label, text string) {
	if text != "" {
		p.line("    %s%s", label, text)
	}
}

// detail shows a policy decision, or whatever else a step has to say.
func (p *printer) detail(raw json.RawMessage) {
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	var d clients.Decision
	if json.Unmarshal(raw, &d) == nil && d.Decision.Cause != "" {
		p.decision(d)
		return
	}
	var plain map[string]string
	if json.Unmarshal(raw, &plain) != nil {
		p.line("    %s", raw)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(plain)) {
		p.line("    %s: %s", k, plain[k])
	}
}

func (p *printer) action(q clients.ActionAnswer) {
	if q.Allowed {
		p.line("\n✓ %s on %s: allowed by %s", q.Action, q.Resource, source(q.Detail.Decision.Source))
		p.more("depends on ", strings.Join(q.Detail.Decision.Open, ", "))
		return
	}
	p.line("\n✗ %s on %s: denied", q.Action, q.Resource)
	if !q.Detail.Decision.ExplicitDeny {
		p.line("    %s", causeText(q.Detail.Decision.Cause))
	}
	p.decision(q.Detail)
}

// decision says which statement denied, or what the nearest one lacked.
func (p *printer) decision(d clients.Decision) {
	if d.Decision.ExplicitDeny {
		p.line("    denied by %s", source(d.Decision.Source))
		return
	}
	for _, m := range d.NearMisses {
		p.line("    nearest: %s", source(clients.Source{Document: m.Document, Arn: m.Arn, Statement: m.Statement, Sid: m.Sid}))
		if c := m.Condition; c != nil {
			p.line("      condition %s %s is not met", c.Operator, c.Key)
			p.line("        wanted: %s", strings.Join(c.Wanted, ", "))
			actual := strings.Join(c.Actual, ", ")
			if c.Absent {
				actual = "(the request has no such key)"
			}
			p.line("        actual: %s", actual)
			if c.Problem != "" {
				p.line("        problem: %s", c.Problem)
			}
			continue
		}
		p.line("      %s does not match", m.Element)
		p.line("        wanted: %s", strings.Join(m.Wanted, ", "))
		p.line("        actual: %s", m.Actual)
	}
}

func source(s clients.Source) string {
	name := s.Document
	if name == "" {
		name = s.Arn
	}
	if name == "" {
		name = "no policy"
	}
	if s.Statement < 0 {
		return name
	}
	out := fmt.Sprintf("%s, statement %d", name, s.Statement+1)
	if s.Sid != "" {
		out += " (" + s.Sid + ")"
	}
	return out
}

var causes = map[string]string{
	"NoIdentityAllow":  "no policy of the role allows it",
	"NoBoundaryAllow":  "the permissions boundary does not allow it",
	"NoSessionAllow":   "the session policy does not allow it",
	"NoResourceAllow":  "no policy of the resource allows it",
	"NoTrustAllow":     "the trust policy does not allow it",
	"NoSCPAllow":       "a service control policy does not allow it",
	"NoRCPAllow":       "a resource control policy does not allow it",
	"RootMayNotAssume": "the account's root user may not assume roles",
}

func causeText(cause string) string {
	if text, ok := causes[cause]; ok {
		return text
	}
	return cause
}
