// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/kubeclient"
)

// Labels, annotations and names by which a pod shows what the webhook did.
const (
	labelInjected  = "eks.amazonaws.com/pod-identity"
	labelSkip      = "eks.amazonaws.com/skip-pod-identity-webhook"
	labelInjection = "podid.dev/injection" // of a namespace
	tokenVolume    = "eks-pod-identity-token"
	staticPod      = "kubernetes.io/config.mirror"
)

// States of a pod whose service account has an association.
const (
	stateInjected = "injected"
	stateSkipped  = "skipped" // it says by a label that it wants nothing
	stateMissed   = "missed"
)

// Reasons why a pod was missed.
const (
	missedNewer    = "association-is-newer"
	missedExcluded = "namespace-is-excluded"
	missedWebhook  = "webhook-was-away"
)

// podJSON is a pod in JSON and YAML.
type podJSON struct {
	Namespace      string    `json:"namespace"`
	Name           string    `json:"name"`
	ServiceAccount string    `json:"serviceAccount"`
	AssociationID  string    `json:"associationId"`
	Node           string    `json:"node,omitempty"`
	CreatedAt      time.Time `json:"createdAt"`
	State          string    `json:"state"`
	Reason         string    `json:"reason,omitempty"` // of a missed one
	Advice         string    `json:"advice,omitempty"` // the command that makes it anew, or what stands in its way
}

func (a *app) getPods() *cobra.Command {
	var cluster, namespace string
	var onlyMissed bool
	var k kube
	cmd := &cobra.Command{
		Use: "pod", Aliases: []string{"pods"},
		Short: "Show the pods with an association, and those that miss what it takes",
		Long: `Show the pods of a cluster whose service account has an association: injected, skipped (the pod's label says
so), or missed. A missed pod was made before its association, or while the webhook was away, or in a namespace
that the webhook is not asked about; it stays so until it is made anew. --missing shows only these, each with the
reason and the command to run. The pods are read with the kubeconfig, the associations from the control plane.`,
		Example: `  podid get pods --missing --cluster my-cluster --kubeconfig ~/.kube/config
  podid get pods --missing --cluster my-cluster -o json | jq -r '.[].advice' | sort -u`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("cluster", cluster); err != nil {
				return err
			}
			kube, err := a.kubernetes(&k)
			if err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			l := &podList{cluster: cluster, clients: c, kube: kube, created: map[string]time.Time{}, excluded: map[string]bool{"kube-system": true}}
			pods, err := l.read(cmd.Context(), namespace, onlyMissed)
			if err != nil {
				return err
			}
			return a.printPods(pods, onlyMissed)
		},
	}
	a.clusterFlag(cmd, &cluster)
	cmd.Flags().StringVar(&namespace, "namespace", "", "only pods of this `namespace`")
	cmd.Flags().BoolVar(&onlyMissed, "missing", false, "only pods that miss what it takes, with the reason and what to do")
	a.kubeFlags(cmd, &k)
	return cmd
}

func (a *app) printPods(pods []podJSON, advice bool) error {
	return a.print(pods, func(w io.Writer) error {
		head := "NAMESPACE POD SERVICE-ACCOUNT ASSOCIATION STATE REASON"
		if advice {
			head = "NAMESPACE POD SERVICE-ACCOUNT ASSOCIATION REASON ADVICE"
		}
		lines := make([][]string, len(pods))
		for i, p := range pods {
			lines[i] = []string{p.Namespace, p.Name, p.ServiceAccount, p.AssociationID, p.State, p.Reason}
			if advice {
				lines[i] = []string{p.Namespace, p.Name, p.ServiceAccount, p.AssociationID, p.Reason, p.Advice}
			}
		}
		return rows(w, head, lines)
	})
}

// podList puts pods and associations together.
type podList struct {
	cluster  string
	clients  *clients.Clients
	kube     *kubeclient.Client
	created  map[string]time.Time // of associations, by id
	excluded map[string]bool      // namespaces that were looked at
}

func (l *podList) read(ctx context.Context, namespace string, onlyMissed bool) ([]podJSON, error) {
	associations, err := l.associations(ctx, namespace)
	if err != nil {
		return nil, err
	}
	pods, err := l.kube.Pods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	out := []podJSON{}
	for i := range pods {
		p := &pods[i]
		account := cmp.Or(p.Spec.ServiceAccountName, "default")
		id, ok := associations[p.Metadata.Namespace+"/"+account]
		state := stateOf(p)
		if !ok || state == "" || onlyMissed && state != stateMissed {
			continue
		}
		x := podJSON{
			Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, ServiceAccount: account, AssociationID: id,
			Node: p.Spec.NodeName, CreatedAt: p.Metadata.Created, State: state,
		}
		if state == stateMissed {
			if x.Reason, err = l.reason(ctx, &x); err != nil {
				return nil, err
			}
			x.Advice = advice(p, x.Reason)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b podJSON) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// associations are the ids by namespace and service account.
func (l *podList) associations(ctx context.Context, namespace string) (map[string]string, error) {
	in := &eks.ListPodIdentityAssociationsInput{ClusterName: &l.cluster}
	if namespace != "" {
		in.Namespace = &namespace
	}
	out := map[string]string{}
	for pages := eks.NewListPodIdentityAssociationsPaginator(l.clients.EKS, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range page.Associations {
			out[aws.ToString(a.Namespace)+"/"+aws.ToString(a.ServiceAccount)] = aws.ToString(a.AssociationId)
		}
	}
	return out, nil
}

// stateOf tells what the webhook did; "" for a pod that is going, or that no
// webhook changes: the image of a static pod.
func stateOf(p *kubeclient.Pod) string {
	if _, static := p.Metadata.Annotations[staticPod]; static || p.Metadata.Deleted != nil {
		return ""
	}
	if p.Metadata.Labels[labelInjected] == "enabled" || slices.Contains(p.Spec.Volumes, kubeclient.Volume{Name: tokenVolume}) {
		return stateInjected
	}
	if _, skip := p.Metadata.Labels[labelSkip]; skip {
		return stateSkipped
	}
	return stateMissed
}

// reason finds out why a pod was missed.
func (l *podList) reason(ctx context.Context, x *podJSON) (string, error) {
	excluded, known := l.excluded[x.Namespace]
	if !known {
		ns, err := l.kube.Namespace(ctx, x.Namespace)
		switch {
		case err == nil:
			excluded = ns.Metadata.Labels[labelInjection] == "disabled"
		case !kubeclient.IsRefused(err) && !kubeclient.IsNotFound(err): // who may list pods need not see namespaces
			return "", err
		}
		l.excluded[x.Namespace] = excluded
	}
	if excluded {
		return missedExcluded, nil
	}
	created, known := l.created[x.AssociationID]
	if !known {
		out, err := l.clients.EKS.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: &l.cluster, AssociationId: &x.AssociationID})
		if err != nil && !clients.IsNotFound(err) {
			return "", err
		}
		if err == nil {
			created = aws.ToTime(out.Association.CreatedAt)
		}
		l.created[x.AssociationID] = created
	}
	// Kubernetes has seconds only: a pod of the same second may be older.
	if !created.Before(x.CreatedAt.Truncate(time.Second)) {
		return missedNewer, nil
	}
	return missedWebhook, nil
}

// advice is the command that makes a pod anew.
func advice(p *kubeclient.Pod, reason string) string {
	namespace := p.Metadata.Namespace
	if reason == missedExcluded {
		if namespace == "kube-system" {
			return "use another namespace than kube-system"
		}
		return "kubectl label namespace " + namespace + " " + labelInjection + "-"
	}
	remove := fmt.Sprintf("kubectl -n %s delete pod %s", namespace, p.Metadata.Name)
	for _, o := range p.Metadata.Owners {
		if !o.Controller {
			continue
		}
		kind, name := o.Kind, o.Name
		if hash := p.Metadata.Labels["pod-template-hash"]; kind == "ReplicaSet" && hash != "" && strings.HasSuffix(name, "-"+hash) {
			kind, name = "Deployment", strings.TrimSuffix(name, "-"+hash)
		}
		switch kind {
		case "Deployment", "StatefulSet", "DaemonSet":
			return fmt.Sprintf("kubectl -n %s rollout restart %s/%s", namespace, strings.ToLower(kind), name)
		}
		return remove // and what owns it makes another one
	}
	return remove + " # and apply its manifest again: nothing owns it"
}
