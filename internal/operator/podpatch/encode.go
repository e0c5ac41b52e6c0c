// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podpatch

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// AppendJSON appends the operations as a JSON patch: what encoding/json makes
// of Ops, at a tenth of its time. A review does little else.
func (p *Patch) AppendJSON(b []byte) ([]byte, error) {
	b = append(b, '[')
	for i := range p.Ops {
		op := &p.Ops[i]
		b = append(b, separator(i)...)
		b = appendText(append(b, `{"op":`...), op.Op)
		b = appendText(append(b, `,"path":`...), op.Path)
		b = append(b, `,"value":`...)
		var err error
		if b, err = appendValue(b, op.Value); err != nil {
			return nil, err
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// separator goes before the element i of a list.
func separator(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// appendValue knows the values that patches are made of.
func appendValue(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return appendText(b, v), nil
	case envVar:
		return appendEnv(b, v), nil
	case []envVar:
		return appendList(b, v, appendEnv), nil
	case volumeMount:
		return appendMount(b, v), nil
	case []volumeMount:
		return appendList(b, v, appendMount), nil
	case projectedVolume:
		return appendProjected(b, v), nil
	case []any:
		b = append(b, '[')
		for i, one := range v {
			var err error
			if b, err = appendValue(append(b, separator(i)...), one); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
	text, err := json.Marshal(value) // rare: a pod without labels, a CA
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return append(b, text...), nil
}

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		b = one(append(b, separator(i)...), v)
	}
	return append(b, ']')
}

func appendEnv(b []byte, e envVar) []byte {
	b = appendText(append(b, `{"name":`...), e.Name)
	b = appendText(append(b, `,"value":`...), e.Value)
	return append(b, '}')
}

func appendMount(b []byte, m volumeMount) []byte {
	b = appendText(append(b, `{"name":`...), m.Name)
	b = strconv.AppendBool(append(b, `,"readOnly":`...), m.ReadOnly)
	b = appendText(append(b, `,"mountPath":`...), m.MountPath)
	return append(b, '}')
}

func appendProjected(b []byte, v projectedVolume) []byte {
	b = appendText(append(b, `{"name":`...), v.Name)
	b = append(b, `,"projected":{"sources":`...)
	b = appendList(b, v.Projected.Sources, func(b []byte, p projection) []byte {
		b = appendText(append(b, `{"serviceAccountToken":{"audience":`...), p.Token.Audience)
		b = strconv.AppendInt(append(b, `,"expirationSeconds":`...), p.Token.Expiration, 10)
		b = appendText(append(b, `,"path":`...), p.Token.Path)
		return append(b, `}}`...)
	})
	return append(b, `}}`...)
}

// appendText appends a string as encoding/json writes it.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, err := json.Marshal(s)
			if err != nil { // of no string
				return append(b, `""`...)
			}
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
