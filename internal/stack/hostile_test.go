// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"strings"
	"testing"
	"time"
)

// TestHostile has texts of the largest size whose reading could cost much more than their length.
func TestHostile(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, MaxTemplate/len(s)) }
	keys := func(line string) string {
		var b strings.Builder
		for i := 0; b.Len() < MaxTemplate-50; i++ {
			b.WriteString(strings.ReplaceAll(line, "N", strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/26%40)))
		}
		return b.String()
	}
	for _, tc := range []struct{ name, text string }{
		{"flow lists", fill("[")},
		{"flow maps", fill("{a: ")},
		{"block lists", fill("- ")},
		{"block keys", fill("? ")},
		{"JSON lists", `{"a":` + fill("[")[100:]},
		{"JSON maps", fill(`{"a":`)},
		{"anchors", "a:\n" + fill("- &x 1\n")[10:]},
		{"quotes", fill("'' ")},
		{"comments", fill("#\n")},
		{"tabs", fill("\t")},
		{"tags", fill("!a ")},
		{"documents", fill("---\n")},
		{"keys", keys("N: 1\n")},
		{"references", "Resources: {R: {Type: AWS::IAM::Role, Properties: {Tags: [" + fill("!Ref R,")[200:] + "]}}}"},
		{"variables", "Resources: {R: {Type: AWS::IAM::Role, Properties: {Description: !Sub '" + fill("${AWS::StackId}")[200:] + "'}}}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			_, err := bindText(tc.text, nil)
			wantRefused(t, err, "")
			if len(err.Error()) > 3000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
