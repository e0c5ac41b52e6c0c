// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lastknown keeps the associations of the cluster over a restart of
// the operator, in Secrets of its own namespace: a webhook that starts while
// the control plane is away knows who had one. All replicas read them before
// they follow the feed; the leader writes them, some time after a change.
//
// It owns the Secrets podid-operator-associations-N and their form: gzipped
// shards of at most 900 KiB, which are one generation together. A generation
// counts when it is whole and its checksum holds; the one before it is there
// until then. It refuses what is damaged, of another cluster's name, or half.
//
// It needs list, create, update and delete of Secrets in the operator's
// namespace.
package lastknown

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/feed"
	"podid/internal/operator/lastknown/shards"
)

// What the Secrets are called and marked with.
const (
	namePrefix = "podid-operator-associations-"
	secretType = "podid.dev/associations" //nolint:gosec // no secret
	dataKey    = "associations.gz"

	label      = "podid.dev/associations"
	labelValue = "last-known"

	cluster    = "podid.dev/cluster"
	clusterUID = "podid.dev/cluster-uid"
	revision   = "podid.dev/revision"
	generation = "podid.dev/generation"
	shard      = "podid.dev/shard" // such as 0/2
	checksum   = "podid.dev/checksum"
	format     = "podid.dev/format"

	formatNow = "1"
)

// Secrets are where the associations are kept. It implements feed.Store. All
// fields are required.
type Secrets struct {
	Client    client.Client // without a cache: Secrets are read once
	Namespace string        // the operator's
	Cluster   string        // name
	Log       *slog.Logger
}

// set is one generation as it was found.
type set struct {
	generation int64
	shards     []*corev1.Secret // in their order
}

func (s *set) annotation(name string) string { return s.shards[0].Annotations[name] }

// Load implements feed.Store.
func (s *Secrets) Load(ctx context.Context, add func(feed.Association) error) (string, int64, error) {
	all, err := s.list(ctx)
	if err != nil {
		return "", 0, err
	}
	found := s.newest(ctx, all)
	if found == nil {
		return "", 0, nil
	}
	at, err := strconv.ParseInt(found.annotation(revision), 10, 64)
	if err != nil || at <= 0 || found.annotation(clusterUID) == "" {
		return "", 0, fmt.Errorf("generation %d of the associations known last names no cluster or no revision", found.generation)
	}
	for _, one := range found.shards {
		if err := shards.Decode(one.Data[dataKey], add); err != nil {
			return "", 0, fmt.Errorf("read %s: %w", one.Name, err)
		}
	}
	return found.annotation(clusterUID), at, nil
}

// Save writes what a snapshot holds, unless it is there already. It is one
// replica's at a time.
func (s *Secrets) Save(ctx context.Context, snapshot *feed.Snapshot) error {
	pieces, err := shards.Encode(snapshot.All(), shards.MaxSize)
	if err != nil {
		return err
	}
	all, err := s.list(ctx)
	if err != nil {
		return err
	}
	have, total := s.newest(ctx, all), shards.Sum(pieces)
	if have != nil && have.annotation(checksum) == total && have.annotation(clusterUID) == snapshot.ClusterUID {
		return s.remove(ctx, all, have.generation)
	}
	next := set{generation: 1}
	used := map[string]bool{}
	for i := range all {
		next.generation = max(next.generation, generationOf(&all[i])+1)
	}
	if have != nil {
		for _, one := range have.shards {
			used[one.Name] = true
		}
	}
	for i, data := range pieces {
		one := s.secret(snapshot, next.generation, data, map[string]string{shard: fmt.Sprintf("%d/%d", i, len(pieces)), checksum: total})
		for n := 0; one.Name == "" || used[one.Name]; n++ {
			one.Name = namePrefix + strconv.Itoa(n)
		}
		used[one.Name] = true
		if err := s.write(ctx, one, all); err != nil {
			return err
		}
	}
	return s.remove(ctx, all, next.generation)
}

func (s *Secrets) secret(snapshot *feed.Snapshot, gen int64, data []byte, annotations map[string]string) *corev1.Secret {
	annotations[cluster], annotations[clusterUID], annotations[format] = s.Cluster, snapshot.ClusterUID, formatNow
	annotations[revision], annotations[generation] = strconv.FormatInt(snapshot.Revision, 10), strconv.FormatInt(gen, 10)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Annotations: annotations,
			Labels: map[string]string{label: labelValue, "app.kubernetes.io/managed-by": "podid-operator", "app.kubernetes.io/part-of": "podid"},
		},
		Type: secretType, Data: map[string][]byte{dataKey: data},
	}
}

// write makes a Secret, or takes over the one of its name that a generation
// without all its shards has left.
func (s *Secrets) write(ctx context.Context, one *corev1.Secret, all []corev1.Secret) error {
	i := slices.IndexFunc(all, func(x corev1.Secret) bool { return x.Name == one.Name })
	if i < 0 {
		if err := s.Client.Create(ctx, one); err != nil {
			return fmt.Errorf("write %s: %w", one.Name, err)
		}
		return nil
	}
	one.ResourceVersion = all[i].ResourceVersion
	if err := s.Client.Update(ctx, one); err != nil {
		return fmt.Errorf("write %s: %w", one.Name, err)
	}
	all[i] = *one
	return nil
}

// remove deletes what is not of a generation.
func (s *Secrets) remove(ctx context.Context, all []corev1.Secret, keep int64) error {
	var problems []error
	for i := range all {
		if one := &all[i]; generationOf(one) != keep {
			if err := s.Client.Delete(ctx, one, client.Preconditions{ResourceVersion: &one.ResourceVersion}); client.IgnoreNotFound(err) != nil {
				problems = append(problems, fmt.Errorf("delete %s: %w", one.Name, err))
			}
		}
	}
	return errors.Join(problems...)
}

func (s *Secrets) list(ctx context.Context) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingLabels{label: labelValue}); err != nil {
		return nil, fmt.Errorf("list the associations known last: %w", err)
	}
	return list.Items, nil
}

// generationOf is 0 where there is none to read.
func generationOf(s *corev1.Secret) int64 {
	n, err := strconv.ParseInt(s.Annotations[generation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// newest finds the newest generation that is whole, or nil, and tells of those
// that are not.
func (s *Secrets) newest(ctx context.Context, all []corev1.Secret) *set {
	sets := map[int64]*set{}
	for i := range all {
		g := generationOf(&all[i])
		if sets[g] == nil {
			sets[g] = &set{generation: g}
		}
		sets[g].shards = append(sets[g].shards, &all[i])
	}
	for _, g := range slices.SortedFunc(maps.Keys(sets), func(a, b int64) int { return cmp.Compare(b, a) }) {
		err := s.whole(sets[g])
		if err == nil {
			return sets[g]
		}
		s.Log.LogAttrs(ctx, slog.LevelWarn, "associations known last are left out", slog.Int64("generation", g), slog.String("error", err.Error()))
	}
	return nil
}

// whole puts the shards of a generation into their order and says what is
// wrong with them.
func (s *Secrets) whole(found *set) error {
	slices.SortFunc(found.shards, func(a, b *corev1.Secret) int {
		return cmp.Or(cmp.Compare(len(a.Annotations[shard]), len(b.Annotations[shard])), cmp.Compare(a.Annotations[shard], b.Annotations[shard]))
	})
	var data [][]byte
	for i, one := range found.shards {
		if want := fmt.Sprintf("%d/%d", i, len(found.shards)); one.Annotations[shard] != want {
			return fmt.Errorf("%s is shard %.20q, want %s", one.Name, one.Annotations[shard], want)
		}
		for _, name := range []string{cluster, clusterUID, revision, checksum, format} {
			if one.Annotations[name] != found.annotation(name) {
				return fmt.Errorf("%s has another %s than %s", one.Name, name, found.shards[0].Name)
			}
		}
		data = append(data, one.Data[dataKey])
	}
	switch {
	case found.annotation(format) != formatNow:
		return fmt.Errorf("%s has format %.20q, want %s", found.shards[0].Name, found.annotation(format), formatNow)
	case found.annotation(cluster) != s.Cluster:
		return fmt.Errorf("%s is of cluster %.100q", found.shards[0].Name, found.annotation(cluster))
	case shards.Sum(data) != found.annotation(checksum):
		return fmt.Errorf("the checksum of %s and those with it does not hold", found.shards[0].Name)
	}
	return nil
}
