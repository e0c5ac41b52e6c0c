// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

func (a *app) explainCommand() *cobra.Command {
	var s subject
	var in clients.ExplainInput
	var tokenFile string
	var actions, resources []string
	c := &cobra.Command{
		Use: "explain", Short: "Say whether a pod would get credentials, and why",
		Long: `Say whether the pods of a service account would get credentials, and why. The server runs the
steps of the exchange itself, without issuing anything, and each is shown with its verdict. Without a
pod, conditions on its name and uid stay open. --action asks what the session would be allowed.

Exit status 0 only when credentials would be issued and every --action is allowed, 3 otherwise.`,
		Example: `  podid explain --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa
  podid explain --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa --pod app-1 \
    --action s3:GetObject --resource arn:aws:s3:::my-bucket/my-object`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "cluster", "namespace", "service-account-name"); err != nil {
				return err
			}
			var err error
			if in.Actions, err = asked(c, actions, resources); err != nil {
				return err
			}
			if tokenFile != "" {
				text, err := os.ReadFile(tokenFile)
				if err != nil {
					return err
				}
				in.Token = strings.TrimSpace(string(text))
			}
			in.Namespace, in.ServiceAccount = s.namespace, s.serviceAccount
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			out, err := api.Podid.Explain(c.Context(), s.cluster, in)
			if err != nil {
				return err
			}
			return a.showExplanation(out)
		},
	}
	s.flags(c)
	f := c.Flags()
	f.StringVar(&in.PodName, "pod", "", "`name` of the pod")
	f.StringVar(&in.PodUID, "pod-uid", "", "`uid` of the pod")
	f.StringVar(&in.NodeName, "node", "", "`name` of the pod's node")
	f.StringVar(&tokenFile, "token-file", "", "`file` with the pod's token: beats what describes the pod")
	f.StringSliceVar(&actions, "action", nil, "`action` that the session might want, such as s3:GetObject; repeatable")
	f.StringSliceVar(&resources, "resource", nil, "`ARN` that the action of the same place is on (default *)")
	a.addOutput(c)
	a.addConnection(c)
	return c
}

func asked(c *cobra.Command, actions, resources []string) ([]clients.ActionAsked, error) {
	if len(resources) > len(actions) {
		return nil, usage(c, errors.New("there are more --resource than --action"))
	}
	out := make([]clients.ActionAsked, len(actions))
	for i, action := range actions {
		out[i] = clients.ActionAsked{Action: action, Resource: "*"}
		if i < len(resources) {
			out[i].Resource = resources[i]
		}
	}
	return out, nil
}

func (a *app) showExplanation(x *clients.Explanation) error {
	refused := !x.WouldIssue
	for _, q := range x.Actions {
		refused = refused || !q.Allowed
	}
	if a.output == "table" {
		writeExplanation(a.Out, x)
	} else if err := a.print(x, table{}); err != nil {
		return err
	}
	if refused {
		return &statusError{ExitRefused}
	}
	return nil
}

var marks = map[string]string{clients.Pass: "✓", clients.Fail: "✗", clients.Open: "?", clients.NotReached: "–"}

func writeExplanation(w io.Writer, x *clients.Explanation) {
	for _, s := range x.Steps {
		line := marks[s.Verdict] + " " + s.Step
		if s.Verdict == clients.NotReached {
			line += ": not reached"
		}
		if s.Note != "" {
			line += ": " + s.Note
		}
		if s.Message != "" {
			line += ": " + s.Message
		}
		if s.Reason != "" {
			line += " [" + s.Reason + "]"
		}
		fmt.Fprintln(w, line)
		if len(s.Open) > 0 {
			fmt.Fprintln(w, "    depends on", strings.Join(s.Open, ", "))
		}
		writeDetail(w, s.Detail)
	}
	verdict := "credentials would be issued"
	if !x.WouldIssue {
		verdict = "credentials would NOT be issued"
	}
	fmt.Fprintln(w, verdict)
	for _, q := range x.Actions {
		writeAction(w, &q)
	}
}

// writeDetail shows the statements that nearly matched, and what failed.
func writeDetail(w io.Writer, raw json.RawMessage) {
	var d clients.Decision
	if len(raw) == 0 || json.Unmarshal(raw, &d) != nil {
		return
	}
	if src := d.Decision.Source; d.Decision.ExplicitDeny {
		fmt.Fprintf(w, "    denied by %s%s\n", src.Document, statement(src.Statement, src.Sid))
	}
	for _, m := range d.NearMisses {
		fmt.Fprintf(w, "    %s%s: %s\n", m.Document, statement(m.Statement, m.Sid), missed(&m))
	}
}

// statement counts from 1, as people do.
func statement(index int, sid string) string {
	if index < 0 {
		return ""
	}
	if sid != "" {
		return fmt.Sprintf(", statement %d (%s)", index+1, sid)
	}
	return fmt.Sprintf(", statement %d", index+1)
}

func missed(m *clients.NearMiss) string {
	c := m.Condition
	if c == nil {
		return fmt.Sprintf("%s wants %s, is %s", m.Element, strings.Join(m.Wanted, " or "), dash(m.Actual))
	}
	is := "is " + strings.Join(c.Actual, ", ")
	if c.Absent {
		is = "is absent"
	}
	text := fmt.Sprintf("%s %s wants %s, %s", c.Operator, c.Key, strings.Join(c.Wanted, " or "), is)
	if c.Problem != "" {
		text += " (" + c.Problem + ")"
	}
	return text
}

func writeAction(w io.Writer, q *clients.ActionAnswer) {
	src := q.Detail.Decision.Source
	switch {
	case q.Allowed:
		fmt.Fprintf(w, "✓ %s on %s: allowed by %s%s\n", q.Action, q.Resource, src.Document, statement(src.Statement, src.Sid))
	case q.Detail.Decision.ExplicitDeny:
		fmt.Fprintf(w, "✗ %s on %s: denied by %s%s\n", q.Action, q.Resource, src.Document, statement(src.Statement, src.Sid))
	default:
		fmt.Fprintf(w, "✗ %s on %s: no policy allows it (%s)\n", q.Action, q.Resource, q.Detail.Decision.Cause)
	}
	for _, m := range q.Detail.NearMisses {
		fmt.Fprintf(w, "    %s%s: %s\n", m.Document, statement(m.Statement, m.Sid), missed(&m))
	}
}

// whoJSON is who the caller is.
type whoJSON struct {
	Account     string `json:"account"`
	Arn         string `json:"arn"`
	UserID      string `json:"userId"`
	AccessKeyID string `json:"accessKeyId"`
	Source      string `json:"credentialSource"`
	Endpoint    string `json:"endpoint"`
	Region      string `json:"region"`
}

func (a *app) whoami() *cobra.Command {
	c := &cobra.Command{
		Use: "whoami", Short: "Show who you are to the control plane",
		Long:    "Show who you are to the control plane, and where the credentials came from.",
		Example: "  podid whoami\n  podid whoami -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			cred, err := api.Config.Credentials.Retrieve(c.Context())
			if err != nil {
				return fmt.Errorf("find credentials: %w", err)
			}
			id, err := api.STS.GetCallerIdentity(c.Context(), &sts.GetCallerIdentityInput{})
			if err != nil {
				return err
			}
			out := whoJSON{
				Account: aws.ToString(id.Account), Arn: aws.ToString(id.Arn), UserID: aws.ToString(id.UserId), AccessKeyID: cred.AccessKeyID,
				Source: cred.Source, Endpoint: aws.ToString(api.Config.BaseEndpoint), Region: api.Config.Region,
			}
			return a.print(out, table{
				head: []string{"ACCOUNT", "ARN", "ACCESS KEY ID", "CREDENTIALS FROM"},
				rows: [][]string{{out.Account, out.Arn, out.AccessKeyID, out.Source}},
			})
		},
	}
	a.addOutput(c)
	a.addConnection(c)
	return c
}
