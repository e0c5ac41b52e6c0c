// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package refusals

import (
	"fmt"
	"strings"
)

// meaning says what a reason's code comes to, and what to look at.
func meaning(r *refusal) string {
	switch code := r.Reason; {
	case code == "association-not-found":
		return fmt.Sprintf("the service account %s has no pod identity association any more", r.ServiceAccount)
	case code == "role-not-found":
		return "the association's role does not exist"
	case strings.HasPrefix(code, "trust-policy"):
		return "the role's trust policy does not let this pod assume it"
	case strings.HasPrefix(code, "target-role"):
		return "the association's target role cannot be assumed"
	case strings.HasPrefix(code, "node-"), code == "token-node-missing":
		return "the node agent that asked is not that of the pod's node"
	case strings.Contains(code, "revoked"):
		return "what it is a session of was revoked"
	}
	return "the control plane's audit log and podid explain say more"
}

// message holds codes and names, and no value.
func message(r *refusal) string {
	var b strings.Builder
	fmt.Fprintf(&b, "EKS Auth refused credentials: %s. Reason %s", meaning(r), r.Reason)
	for _, part := range []struct{ what, value string }{
		{"association", r.AssociationID}, {"statement", r.Sid}, {"condition key", r.ConditionKey}, {"request id", r.RequestID},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, ", %s %s", part.what, part.value)
		}
	}
	return b.String()
}
