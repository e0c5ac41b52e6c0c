// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

// revocationJSON is a revocation in JSON and YAML.
type revocationJSON struct {
	Kind      string    `json:"kind"`
	ID        string    `json:"id"`
	Subject   string    `json:"subject"`
	NotBefore time.Time `json:"notBefore"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	EndsAt    time.Time `json:"endsAt"`
}

func newRevocation(r *clients.Revocation) revocationJSON {
	return revocationJSON{r.Kind, r.ID, r.Subject, clients.Epoch(r.NotBefore), clients.Epoch(r.CreatedAt), r.CreatedBy, clients.Epoch(r.EndsAt)}
}

func (x revocationJSON) fields(w io.Writer) error {
	return fields(w, "subject", x.Subject, "kind", x.Kind, "id", x.ID, "sessions refused up to", x.NotBefore.Format(time.RFC3339Nano),
		"revoked by", x.CreatedBy, "at", x.CreatedAt.Format(time.RFC3339), "kept until", x.EndsAt.Format(time.RFC3339))
}

func (a *app) revokeSessions() *cobra.Command {
	var in clients.RevokeInput
	var at string
	cmd := &cobra.Command{
		Use: "sessions", Aliases: []string{"session"},
		Short: "Refuse the sessions that a role, user, association or pod has",
		Long: `Refuse the credentials that were issued so far to a role, a user, an association or a pod, and all
that were got with them by assuming further roles. It counts on every replica as soon as the
replica has heard of it, within a second. Callers with such credentials are told that they are
expired, so that their SDK gets new ones.

It takes no right away: who may get credentials gets new ones that count. To keep a pod from
them, delete its association first, or let the role's trust policy refuse it. A node's agent
hands out the credentials that it has cached until it renews them: delete the pod, or restart the
agent of its node, for new ones at once. Credentials of AWS or of another issuer are not podid's
to revoke.

--at sets the time up to which sessions are refused: now, or one in the past, to keep what was
issued since. Other than a policy with aws:TokenIssueTime it needs no change of the role, and is
forgotten by itself when no session that it refuses can be alive.`,
		Example: `  podid revoke sessions --role s3-app-role
  podid revoke sessions --role s3-app-role --at 2026-11-22T10:00:00Z
  podid revoke sessions --association a-0123456789abcdefg
  podid revoke sessions --pod s3-app-ns/app1-v1-56b9f94b4-dvd5c --cluster my-cluster
  podid revoke sessions --user jane`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRevoke(in); err != nil {
				return err
			}
			if at != "" {
				t, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return usagef("--at %q is no time such as 2026-11-22T10:00:00Z", at)
				}
				in.NotBefore = t.Format(time.RFC3339Nano)
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.Podid.RevokeSessions(cmd.Context(), in)
			if err != nil {
				return err
			}
			x := newRevocation(out)
			a.say("revoked the sessions of %s that were issued up to %s", x.Subject, x.NotBefore.Format(time.RFC3339Nano))
			return a.print(x, x.fields)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Role, "role", "", "`name` or ARN of the role")
	f.StringVar(&in.User, "user", "", "`name` or ARN of the user: sessions of GetSessionToken and GetFederationToken")
	f.StringVar(&in.AssociationID, "association", "", "`id` of the association; with --cluster, one that is deleted already")
	f.StringVar(&in.Pod, "pod", "", "the `pod`: namespace/name, or its UID")
	f.StringVar(&in.ClusterName, "cluster", "", "`name` of the pod's cluster")
	f.StringVar(&at, "at", "", "`time` up to which sessions are refused (RFC 3339); now by default")
	register(cmd, "cluster", a.completeClusters)
	return cmd
}

// checkRevoke wants one subject, and a cluster where it needs one.
func checkRevoke(in clients.RevokeInput) error {
	n := 0
	for _, v := range []string{in.Role, in.User, in.AssociationID, in.Pod} {
		if v != "" {
			n++
		}
	}
	switch {
	case n != 1:
		return usagef("--role, --user, --association or --pod is needed, one of them")
	case in.Pod != "":
		return missing("cluster", in.ClusterName)
	case in.ClusterName != "" && in.AssociationID == "":
		return usagef("--cluster belongs to --pod or --association")
	}
	return nil
}

func (a *app) getRevocations() *cobra.Command {
	return &cobra.Command{
		Use: "revocations", Aliases: []string{"revocation"},
		Short: "Show whose sessions are refused, and up to when they were issued",
		Long: `Show the revocations of sessions in the account. Each is forgotten when no session that it refuses
can be alive any more.`,
		Example: `  podid get revocations
  podid get revocations -o json`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			list, err := c.Podid.ListRevocations(cmd.Context())
			if err != nil {
				return err
			}
			out := make([]revocationJSON, len(list))
			lines := make([][]string, len(list))
			for i := range list {
				out[i] = newRevocation(&list[i])
				lines[i] = []string{out[i].Kind, out[i].Subject, out[i].NotBefore.Format(time.RFC3339Nano), out[i].EndsAt.Format(time.RFC3339)}
			}
			return a.print(out, func(w io.Writer) error { return rows(w, "KIND SUBJECT NOT-BEFORE KEPT-UNTIL", lines) })
		},
	}
}
