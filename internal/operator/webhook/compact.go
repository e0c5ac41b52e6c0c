// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"podid/internal/operator/podpatch"
)

// readCompact reads a review without encoding/json, which takes four times as
// long as all else of a review: it looks at every value by reflection, and a
// pod is mostly what no decision needs. It reads what API servers write, and
// reports false for anything that encoding/json might read in another way: a
// name twice or in another case, a value of an unexpected type, what is no
// JSON. A fuzz target holds the two together.
func readCompact(text string) (review, bool) {
	var out review
	s := &scanner{text: text}
	ok := s.object(reviewNames, func(name string) bool {
		switch name {
		case "apiVersion":
			return s.text1(&out.APIVersion)
		case "kind":
			return s.text1(&out.Kind)
		case "request":
			if s.null() {
				return true
			}
			out.Request = &request{}
			return s.request(out.Request)
		}
		return false // of the names only response is left
	})
	s.space()
	return out, ok && s.at == len(s.text)
}

// The names that are read, for each kind of object. "response" is read by
// nobody here, but has a place in review: whoever sends one is read the slow way.
var (
	reviewNames    = []string{"apiVersion", "kind", "request", "response"}
	requestNames   = []string{"uid", "kind", "namespace", "operation", "dryRun", "object"}
	groupKindNames = []string{"group", "kind"}
	podNames       = []string{"metadata", "spec"}
	metadataNames  = []string{"name", "generateName", "namespace", "labels", "annotations"}
	specNames      = []string{"serviceAccountName", "os", "nodeSelector", "initContainers", "containers", "volumes"}
	nameOnly       = []string{"name"}
	containerNames = []string{"name", "env", "volumeMounts"}
	envNames       = []string{"name", "value", "valueFrom"}
	mountNames     = []string{"name", "mountPath"}
)

func (s *scanner) request(r *request) bool {
	return s.object(requestNames, func(name string) bool {
		switch name {
		case "uid":
			return s.text1(&r.UID)
		case "kind":
			return s.groupKind(&r.Kind)
		case "namespace":
			return s.text1(&r.Namespace)
		case "operation":
			return s.text1(&r.Operation)
		case "dryRun":
			return s.flag(&r.DryRun)
		}
		return s.pod(&r.Object)
	})
}

func (s *scanner) groupKind(k *groupKind) bool {
	return s.object(groupKindNames, func(name string) bool {
		if name == "group" {
			return s.text1(&k.Group)
		}
		return s.text1(&k.Kind)
	})
}

func (s *scanner) pod(p *podpatch.Pod) bool {
	return s.object(podNames, func(name string) bool {
		if name == "metadata" {
			return s.metadata(&p.Metadata)
		}
		return s.spec(&p.Spec)
	})
}

func (s *scanner) metadata(m *podpatch.Metadata) bool {
	return s.object(metadataNames, func(name string) bool {
		switch name {
		case "name":
			return s.text1(&m.Name)
		case "generateName":
			return s.text1(&m.GenerateName)
		case "namespace":
			return s.text1(&m.Namespace)
		case "labels":
			return s.texts(&m.Labels)
		}
		return s.texts(&m.Annotations)
	})
}

func (s *scanner) spec(p *podpatch.Spec) bool {
	return s.object(specNames, func(name string) bool {
		switch name {
		case "serviceAccountName":
			return s.text1(&p.ServiceAccountName)
		case "os":
			return s.object(nameOnly, func(string) bool { return s.text1(&p.OS.Name) })
		case "nodeSelector":
			return s.texts(&p.NodeSelector)
		case "initContainers":
			return list(s, &p.InitContainers, (*scanner).container)
		case "containers":
			return list(s, &p.Containers, (*scanner).container)
		}
		return list(s, &p.Volumes, func(s *scanner, v *podpatch.Volume) bool {
			return s.object(nameOnly, func(string) bool { return s.text1(&v.Name) })
		})
	})
}

func (s *scanner) container(c *podpatch.Container) bool {
	return s.object(containerNames, func(name string) bool {
		switch name {
		case "name":
			return s.text1(&c.Name)
		case "env":
			return list(s, &c.Env, (*scanner).env)
		}
		return list(s, &c.VolumeMounts, func(s *scanner, m *podpatch.Mount) bool {
			return s.object(mountNames, func(name string) bool {
				if name == "name" {
					return s.text1(&m.Name)
				}
				return s.text1(&m.MountPath)
			})
		})
	})
}

func (s *scanner) env(e *podpatch.EnvVar) bool {
	return s.object(envNames, func(name string) bool {
		switch name {
		case "name":
			return s.text1(&e.Name)
		case "value":
			return s.text1(&e.Value)
		}
		if s.null() {
			return true
		}
		e.ValueFrom = &struct{}{}
		return s.peek() == '{' && s.skip()
	})
}

// scanner goes through a JSON text. Its methods report false where they do not
// know what encoding/json would make of it.
type scanner struct {
	text  string
	at    int
	depth int
}

// deepest is more than any object of Kubernetes, and less than what harms.
const deepest = 200

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// peek is the byte that comes next, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// take goes over a byte if it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) null() bool { return s.peek() == 'n' && s.word("null") }

func (s *scanner) word(w string) bool {
	if !strings.HasPrefix(s.text[s.at:], w) {
		return false
	}
	s.at += len(w)
	return true
}

// object calls member with each of the names, standing before its value, and
// skips all others. A null is an object without members.
func (s *scanner) object(names []string, member func(name string) bool) bool {
	if s.null() {
		return true
	}
	var seen uint
	return s.members(func(name string) bool {
		i := indexOf(names, name)
		switch {
		case i == other:
			return s.skip()
		case i == unsure || seen&(1<<i) != 0:
			return false
		}
		seen |= 1 << i
		return member(name)
	})
}

const (
	other  = -1
	unsure = -2 // encoding/json takes names in any case
)

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	for _, n := range names {
		if len(n) == len(name) && strings.EqualFold(n, name) {
			return unsure
		}
	}
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf { // some fold to letters
			return unsure
		}
	}
	return other
}

// members calls each with the name of every member, standing before its value.
func (s *scanner) members(each func(name string) bool) bool {
	return s.elementsOf('{', '}', func() bool {
		name, ok := s.string()
		return ok && s.take(':') && each(name)
	})
}

// elementsOf calls each before every element of a list, or member of an object.
func (s *scanner) elementsOf(begin, end byte, each func() bool) bool {
	if s.depth++; s.depth >= deepest || !s.take(begin) {
		return false
	}
	defer func() { s.depth-- }()
	if s.take(end) {
		return true
	}
	for {
		if !each() {
			return false
		}
		if !s.take(',') {
			return s.take(end)
		}
	}
}

// list reads the elements of a list, or none where there is null.
func list[T any](s *scanner, to *[]T, one func(*scanner, *T) bool) bool {
	if s.null() {
		return true
	}
	*to = []T{} // encoding/json tells an empty list from none
	return s.elementsOf('[', ']', func() bool {
		*to = append(*to, *new(T))
		return one(s, &(*to)[len(*to)-1])
	})
}

// text1 reads a string; null leaves what is there.
func (s *scanner) text1(to *string) (ok bool) {
	if s.null() {
		return true
	}
	*to, ok = s.string()
	return ok
}

// flag reads a boolean; null leaves what is there.
func (s *scanner) flag(to *bool) bool {
	switch s.peek() {
	case 't':
		*to = true
		return s.word("true")
	case 'f':
		*to = false
		return s.word("false")
	}
	return s.null()
}

// texts reads an object of strings; null is none.
func (s *scanner) texts(to *map[string]string) bool {
	if s.null() {
		return true
	}
	m := map[string]string{}
	*to = m
	return s.members(func(name string) bool {
		var value string
		ok := s.text1(&value)
		m[name] = value
		return ok
	})
}

// string reads a string. What has escapes is read by encoding/json.
func (s *scanner) string() (string, bool) {
	begin := s.at
	body, escaped, ok := s.raw()
	switch {
	case !ok:
		return "", false
	case escaped:
		var out string
		err := json.Unmarshal([]byte(strings.TrimLeft(s.text[begin:s.at], " \t\r\n")), &out)
		return out, err == nil
	}
	return body, utf8.ValidString(body) // encoding/json puts something in the place of what is not
}

// raw goes over a string and returns what is between its quotes.
func (s *scanner) raw() (body string, escaped, ok bool) {
	if !s.take('"') {
		return "", false, false
	}
	text, begin, at := s.text, s.at, s.at // most of a review is text in quotes
	for at < len(text) {
		switch c := text[at]; {
		case c == '"':
			s.at = at + 1
			return text[begin:at], escaped, true
		case c == '\\':
			s.at, escaped = at, true
			if !s.escape() {
				return "", true, false
			}
			at = s.at
		case c < ' ':
			return "", escaped, false
		default:
			at++
		}
	}
	return "", escaped, false
}

// escape goes over one, from its backslash on.
func (s *scanner) escape() bool {
	if s.at+1 >= len(s.text) {
		return false
	}
	c := s.text[s.at+1]
	s.at += 2
	if c != 'u' {
		return strings.IndexByte(`"\/bfnrt`, c) >= 0
	}
	for range 4 {
		if s.at >= len(s.text) || !isHex(s.text[s.at]) {
			return false
		}
		s.at++
	}
	return true
}

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// skip goes over a value of any kind.
func (s *scanner) skip() bool {
	switch c := s.peek(); {
	case c == '"':
		_, _, ok := s.raw()
		return ok
	case c == '{':
		return s.elementsOf('{', '}', s.skipMember)
	case c == '[':
		return s.elementsOf('[', ']', s.skip)
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) skipMember() bool {
	_, _, ok := s.raw()
	return ok && s.take(':') && s.skip()
}

func (s *scanner) number() bool {
	if s.at < len(s.text) && s.text[s.at] == '-' {
		s.at++
	}
	switch {
	case s.at < len(s.text) && s.text[s.at] == '0':
		s.at++
	case !s.digits():
		return false
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		if s.at++; !s.digits() {
			return false
		}
	}
	if s.at < len(s.text) && (s.text[s.at] == 'e' || s.text[s.at] == 'E') {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		return s.digits()
	}
	return true
}

// digits goes over one at least.
func (s *scanner) digits() bool {
	begin := s.at
	for s.at < len(s.text) && isDigit(s.text[s.at]) {
		s.at++
	}
	return s.at > begin
}
