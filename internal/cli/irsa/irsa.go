// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package irsa reads service accounts as kubectl writes them, and picks those
// that have a role by annotation, as IAM roles for service accounts (IRSA) do.
// It takes YAML and JSON, lists and single objects, several documents in one
// file, and skips objects of other kinds. It refuses what it cannot read with
// the document's number, and decides nothing about the roles: what becomes of
// them is planned by internal/cli/migrate.
package irsa

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Annotation is where IRSA keeps the ARN of the role.
const Annotation = "eks.amazonaws.com/role-arn"

// MaxFile bounds a file of service accounts, in bytes.
const MaxFile = 64 << 20

// A ServiceAccount is an annotated service account. Namespace may be empty:
// manifests may leave it to kubectl.
type ServiceAccount struct{ Namespace, Name, RoleARN string }

// Found is what a file holds.
type Found struct {
	Annotated []ServiceAccount // by namespace and name, each once per role
	Plain     int              // service accounts without the annotation
	Others    int              // objects of other kinds
}

// Read reads service accounts. A file without any object is refused: it is
// rather a mistake than an empty cluster.
func Read(r io.Reader) (*Found, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read service accounts: %w", err)
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("read service accounts: more than %d bytes", MaxFile)
	}
	docs, err := documents(text)
	if err != nil {
		return nil, err
	}
	out := &Found{}
	for i, doc := range docs {
		if err := out.add(doc); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	if len(out.Annotated)+out.Plain+out.Others == 0 {
		return nil, errors.New("there is no service account and no other object in it")
	}
	out.Sort()
	return out, nil
}

// Sort puts the annotated service accounts in order, each once per role.
func (f *Found) Sort() {
	slices.SortFunc(f.Annotated, func(a, b ServiceAccount) int {
		return strings.Compare(a.Namespace+"/"+a.Name+" "+a.RoleARN, b.Namespace+"/"+b.Name+" "+b.RoleARN)
	})
	f.Annotated = slices.Compact(f.Annotated)
}

// object is as much of a Kubernetes object, or list of them, as is read.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

func (f *Found) add(doc []byte) error {
	var o object
	if err := json.Unmarshal(doc, &o); err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	switch {
	case o.Kind == "":
		return errors.New("it has no kind: service accounts are read as kubectl get serviceaccounts -o yaml writes them")
	case o.Kind == "List" || o.Kind == "ServiceAccountList":
		return f.addItems(&o)
	case o.Kind != "ServiceAccount":
		f.Others++
		return nil
	case o.Metadata.Name == "":
		return errors.New("a ServiceAccount has no metadata.name")
	}
	f.Add(o.Metadata.Namespace, o.Metadata.Name, o.Metadata.Annotations)
	return nil
}

// addItems adds the items of a list. Those of a typed list may lack a kind, as
// the API server itself writes them.
func (f *Found) addItems(list *object) error {
	for i, raw := range list.Items {
		var o object
		if err := json.Unmarshal(raw, &o); err != nil {
			return fmt.Errorf("item %d: read object: %w", i+1, err)
		}
		if o.Kind == "" && list.Kind == "ServiceAccountList" {
			o.Kind = "ServiceAccount"
		}
		switch {
		case o.Kind == "":
			return fmt.Errorf("item %d has no kind", i+1)
		case o.Kind != "ServiceAccount":
			f.Others++
		case o.Metadata.Name == "":
			return fmt.Errorf("item %d: the ServiceAccount has no metadata.name", i+1)
		default:
			f.Add(o.Metadata.Namespace, o.Metadata.Name, o.Metadata.Annotations)
		}
	}
	if len(list.Items) == 0 {
		f.Others++ // an empty list is an object
	}
	return nil
}

// Add adds a service account by its annotations.
func (f *Found) Add(namespace, name string, annotations map[string]string) {
	role, annotated := annotations[Annotation]
	if !annotated {
		f.Plain++
		return
	}
	f.Annotated = append(f.Annotated, ServiceAccount{namespace, name, strings.TrimSpace(role)})
}

// documents splits a file into JSON texts. JSON is read as such: it may be
// indented by tabs, which YAML refuses.
func documents(text []byte) ([][]byte, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return jsonDocuments(text)
	}
	var out [][]byte
	for i, doc := range yamlDocuments(text) {
		asJSON, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		if !bytes.Equal(asJSON, []byte("null")) {
			out = append(out, asJSON)
		}
	}
	return out, nil
}

func jsonDocuments(text []byte) ([][]byte, error) {
	var out [][]byte
	for dec := json.NewDecoder(bytes.NewReader(text)); ; {
		var doc json.RawMessage
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("document %d: %w", len(out)+1, err)
		}
		out = append(out, doc)
	}
}

// yamlDocuments cuts at lines that are a document marker.
func yamlDocuments(text []byte) [][]byte {
	var out [][]byte
	var doc bytes.Buffer
	lines := bufio.NewReader(bytes.NewReader(text))
	for {
		line, err := lines.ReadBytes('\n')
		if marker := bytes.TrimRight(line, " \t\r\n"); bytes.Equal(marker, []byte("---")) || bytes.HasPrefix(line, []byte("--- ")) {
			out = append(out, bytes.Clone(doc.Bytes()))
			doc.Reset()
			line = bytes.TrimPrefix(line, []byte("---"))
		}
		doc.Write(line)
		if err != nil {
			return append(out, doc.Bytes())
		}
	}
}

// Only keeps the annotated service accounts of one namespace.
func (f *Found) Only(namespace string) {
	f.Annotated = slices.DeleteFunc(f.Annotated, func(s ServiceAccount) bool { return s.Namespace != namespace })
}
