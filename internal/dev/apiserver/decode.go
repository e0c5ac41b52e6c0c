// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"

	"google.golang.org/protobuf/encoding/protowire"
)

var errProtobuf = errors.New("the body is no protobuf object of Kubernetes")

// decode reads a namespace or service account, as JSON or in Kubernetes'
// protobuf envelope, which client-go prefers. Members that are not kept here
// are passed over.
func decode(contentType string, body []byte) (object, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if contentType != "" && err != nil {
		return object{}, fmt.Errorf("the Content-Type %.100q is malformed", contentType)
	}
	switch kind {
	case "", "application/json":
		var o object
		if err := json.Unmarshal(body, &o); err != nil {
			return object{}, fmt.Errorf("the body is no JSON object of Kubernetes: %w", err)
		}
		return o, nil
	case "application/vnd.kubernetes.protobuf":
		return decodeProtobuf(body)
	}
	return object{}, fmt.Errorf("the Content-Type %.100q is neither application/json nor application/vnd.kubernetes.protobuf", kind)
}

// decodeProtobuf reads runtime.Unknown: {1: {1: apiVersion, 2: kind}, 2: the
// object}. Its field 1 is the metadata of every object. Source: the .proto
// files of k8s.io/apimachinery.
func decodeProtobuf(body []byte) (object, error) {
	var o object
	rest, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
	if !ok {
		return o, errProtobuf
	}
	err := fields(rest, func(n protowire.Number, v []byte) error {
		switch n {
		case 1:
			return fields(v, func(n protowire.Number, v []byte) error {
				return text(n, v, map[protowire.Number]*string{1: &o.APIVersion, 2: &o.Kind})
			})
		case 2:
			return fields(v, func(n protowire.Number, v []byte) error {
				if n != 1 {
					return nil
				}
				return fields(v, o.Metadata.field)
			})
		}
		return nil
	})
	return o, err
}

// field reads a field of ObjectMeta.
func (m *metadata) field(n protowire.Number, v []byte) error {
	switch n {
	case 11:
		return entry(&m.Labels, v)
	case 12:
		return entry(&m.Annotations, v)
	}
	return text(n, v, map[protowire.Number]*string{1: &m.Name, 3: &m.Namespace, 5: &m.UID, 6: &m.ResourceVersion})
}

func text(n protowire.Number, v []byte, into map[protowire.Number]*string) error {
	if p := into[n]; p != nil {
		*p = string(v)
	}
	return nil
}

// entry reads an entry of a map of texts.
func entry(into *map[string]string, v []byte) error {
	var key, value string
	err := fields(v, func(n protowire.Number, v []byte) error {
		return text(n, v, map[protowire.Number]*string{1: &key, 2: &value})
	})
	if err != nil {
		return err
	}
	if *into == nil {
		*into = map[string]string{}
	}
	(*into)[key] = value
	return nil
}

// fields calls f for each field of a message that has a length; numbers are
// passed over.
func fields(message []byte, f func(n protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return errProtobuf
		}
		message = message[size:]
		if kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(n, kind, message); size < 0 {
				return errProtobuf
			}
			message = message[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(message)
		if size < 0 {
			return errProtobuf
		}
		if err := f(n, value); err != nil {
			return err
		}
		message = message[size:]
	}
	return nil
}
