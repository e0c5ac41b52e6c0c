// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import "unicode/utf8"

// The parts of a packed policy size, in twentieths of a percent. AWS never
// published its packing. These weights give what was seen of it: 55 to 61 % for
// the six tags of EKS Pod Identity with short values, 74 % with long ones, and
// sizes that add up. See docs/compat/sts.md.
const (
	packedPercent    = 20
	packedTag        = 20 // a tag, whatever is in it
	packedKeyChar    = 8
	packedValueChar  = 1
	packedPolicyChar = 1
	packedARN        = 20 // the ARN of a session policy, whatever it is
)

// PackedPolicySize is STS' PackedPolicySize of what a caller passed: session
// tags, inline session policy and ARNs of session policies, in percent, rounded
// up. It may pass 100: nothing is refused for it, as with AWS since September
// 2026. 0 means that nothing was passed.
func PackedPolicySize(tags []Tag, policy string, arns []string) int {
	n := packedPolicyChar * utf8.RuneCountInString(policy)
	for _, t := range tags {
		n += packedTag + packedKeyChar*utf8.RuneCountInString(t.Key) + packedValueChar*utf8.RuneCountInString(t.Value)
	}
	for _, a := range arns {
		n += packedARN + packedPolicyChar*utf8.RuneCountInString(a)
	}
	return (n + packedPercent - 1) / packedPercent
}
