// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"strings"
)

// A Found is a policy document in a file.
type Found struct {
	Node *Node
	Text string // JSON text of the document
	// Path says where in the file it stands, "" for a file that is a document:
	// roles.app.trust, Resources.Role.Properties.AssumeRolePolicyDocument.
	Path string
}

// Find returns every policy document in the trees: every object with a member
// Statement, and every string that holds JSON text of one, as templates and
// Crossplane's manifests do. A file that is one object without Statement and
// holds none is returned whole when it has other members of a document, so that
// its fault is reported.
func Find(roots []*Node) []Found {
	var out []Found
	for i, root := range roots {
		path := ""
		if len(roots) > 1 {
			path = fmt.Sprintf("document %d", i+1)
		}
		out = append(out, find(root, path)...)
	}
	if len(out) == 0 && len(roots) == 1 && looksLikeDocument(roots[0]) {
		return []Found{{Node: roots[0], Text: roots[0].JSON()}}
	}
	return out
}

func looksLikeDocument(n *Node) bool {
	for i := range n.Members {
		switch strings.ToLower(n.Members[i].Name) {
		case "version", "statement", "statements":
			return true
		}
	}
	return false
}

func find(n *Node, path string) []Found {
	var out []Found
	switch n.Kind {
	case String:
		text := strings.TrimSpace(n.Text)
		if !strings.HasPrefix(text, "{") || !strings.Contains(text, `"Statement"`) {
			return nil
		}
		at, column := n.Pos, n.Col
		if n.block > 0 {
			at, column = Pos{n.Line + 1, n.block}, n.block
		}
		if inner, err := parseJSONAt(n.Text, at, column); err == nil {
			return find(inner, path)
		}
		return []Found{{Node: n, Text: n.Text, Path: path}}
	case List:
		for i, item := range n.Items {
			out = append(out, find(item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case Object:
		if s := n.Get("Statement"); s != nil && (s.Kind == List || s.Kind == Object) {
			return []Found{{Node: n, Text: n.JSON(), Path: path}}
		}
		for i := range n.Members {
			m := &n.Members[i]
			out = append(out, find(m.Value, strings.TrimPrefix(path+"."+m.Name, "."))...)
		}
	}
	return out
}
