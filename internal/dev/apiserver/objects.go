// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The kinds of objects, as Kubernetes names them.
const (
	kindNamespace      = "Namespace"
	kindServiceAccount = "ServiceAccount"
)

// maxObjects bounds what the file holds.
const maxObjects = 5000

// An object is a namespace or a service account. All that both have in common
// with Kubernetes' is their metadata.
type object struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   metadata `json:"metadata"`
}

type metadata struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace,omitempty"`
	UID               string            `json:"uid,omitempty"`
	ResourceVersion   string            `json:"resourceVersion,omitempty"`
	CreationTimestamp string            `json:"creationTimestamp,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
}

func (o object) key() string { return keyOf(o.Kind, o.Metadata.Namespace, o.Metadata.Name) }

func keyOf(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// objects is what the cluster holds, kept in a file.
type objects struct {
	file string
	now  func() time.Time
	rand io.Reader

	mu      sync.Mutex
	version int
	all     map[string]object
}

// load reads the file. A new cluster has the namespaces that every cluster has.
func (s *objects) load() error {
	s.all = map[string]object{}
	text, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{"default", "kube-system"} {
			if _, err := s.create(object{Kind: kindNamespace, Metadata: metadata{Name: name}}); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	var list []object
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("%s: %w", s.file, err)
	}
	for _, o := range list {
		s.all[o.key()] = o
		if n, err := strconv.Atoi(o.Metadata.ResourceVersion); err == nil {
			s.version = max(s.version, n)
		}
	}
	return nil
}

// save writes the file whole or not at all.
func (s *objects) save(all map[string]object) error {
	text, err := json.MarshalIndent(sorted(all), "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.file), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.all = all
	return nil
}

func sorted(all map[string]object) []object {
	return slices.SortedFunc(maps.Values(all), func(a, b object) int { return cmp.Compare(a.key(), b.key()) })
}

func (s *objects) get(kind, namespace, name string) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(kind, namespace, name)
}

func (s *objects) find(kind, namespace, name string) (object, error) {
	o, ok := s.all[keyOf(kind, namespace, name)]
	if !ok {
		return object{}, &refusal{http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", plural(kind), name)}
	}
	return o, nil
}

// list returns the objects of a kind: of all namespaces when that is "".
func (s *objects) list(kind, namespace string) []object {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := sorted(s.all)
	return slices.DeleteFunc(out, func(o object) bool {
		return o.Kind != kind || namespace != "" && o.Metadata.Namespace != namespace
	})
}

// validName is that of a DNS label; service accounts may have dots in it.
// Source: Kubernetes, "Object Names and IDs".
var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func (o object) check() error {
	limit := 253
	if o.Kind == kindNamespace {
		limit = 63
	}
	if n := o.Metadata.Name; len(n) > limit || !validName.MatchString(n) || o.Kind == kindNamespace && strings.Contains(n, ".") {
		return &refusal{http.StatusUnprocessableEntity, "Invalid", fmt.Sprintf("%s %.300q is invalid: metadata.name: it must be a name of at most %d lower case letters, digits and hyphens", o.Kind, n, limit)}
	}
	return nil
}

func (s *objects) create(o object) (object, error) {
	if err := o.check(); err != nil {
		return object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Kind == kindServiceAccount {
		if _, err := s.find(kindNamespace, "", o.Metadata.Namespace); err != nil {
			return object{}, err
		}
	}
	switch _, there := s.all[o.key()]; {
	case there:
		return object{}, &refusal{http.StatusConflict, "AlreadyExists", fmt.Sprintf("%s %q already exists", plural(o.Kind), o.Metadata.Name)}
	case len(s.all) >= maxObjects:
		return object{}, &refusal{http.StatusInsufficientStorage, "", fmt.Sprintf("podid dev keeps at most %d objects of a cluster", maxObjects)}
	}
	var uid [16]byte
	if _, err := io.ReadFull(s.rand, uid[:]); err != nil {
		return object{}, fmt.Errorf("draw a uid: %w", err)
	}
	uid[6], uid[8] = uid[6]&0x0f|0x40, uid[8]&0x3f|0x80
	h := hex.EncodeToString(uid[:])
	o.Metadata.UID = h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	o.Metadata.CreationTimestamp = s.now().UTC().Format(time.RFC3339)
	return s.put(o)
}

// put writes an object under a new version.
func (s *objects) put(o object) (object, error) {
	s.version++
	o.APIVersion, o.Metadata.ResourceVersion = "v1", strconv.Itoa(s.version)
	all := maps.Clone(s.all)
	all[o.key()] = o
	return o, s.save(all)
}

// update takes labels and annotations; a version that is given must be the
// object's.
func (s *objects) update(o object) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.find(o.Kind, o.Metadata.Namespace, o.Metadata.Name)
	if err != nil {
		return object{}, err
	}
	if v := o.Metadata.ResourceVersion; v != "" && v != old.Metadata.ResourceVersion {
		return object{}, &refusal{http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on %s %q: the object has been modified; please apply your changes to the latest version and try again", plural(o.Kind), o.Metadata.Name)}
	}
	old.Metadata.Labels, old.Metadata.Annotations = o.Metadata.Labels, o.Metadata.Annotations
	return s.put(old)
}

// remove takes an object away, and with a namespace what is in it.
func (s *objects) remove(kind, namespace, name string) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(kind, namespace, name)
	if err != nil {
		return object{}, err
	}
	all := maps.Clone(s.all)
	maps.DeleteFunc(all, func(_ string, x object) bool {
		return x.key() == o.key() || kind == kindNamespace && x.Metadata.Namespace == name
	})
	return o, s.save(all)
}

func plural(kind string) string { return strings.ToLower(kind) + "s" }
