// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdembed

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/datadir"
	"go.uber.org/zap"
)

const (
	memberName   = "podid"
	clusterToken = "podid"
	// endpoint is a name, not an address: nothing listens and nobody dials it.
	endpoint = "passthrough:///podid"
	// nominalURL fills the field that etcd demands of a member.
	nominalURL = "unix://podid"

	// Quota is the size at which the store refuses writes, etcd's suggested
	// maximum.
	Quota = 8 << 30
	// MaxTxnOps is how many records one update may read or write; store/etcd
	// asks as much of an etcd elsewhere.
	MaxTxnOps = 1024
	// MaxRequestBytes is etcd's default, so that no update works here that
	// would fail on an etcd elsewhere.
	MaxRequestBytes = 3 << 19

	// A single member elects itself and never hears a rival: short ticks
	// only make the first election quick.
	tick          = 50 * time.Millisecond
	electionTicks = 2

	// history is how long old revisions are kept: what a reader that was
	// cut off can catch up on without loading everything anew, and how long
	// the (sealed) content of a deleted record stays in the file.
	history = 30 * time.Minute
)

func serverConfig(dir string, log *zap.Logger) config.ServerConfig {
	nominal := types.URLs{url.URL{Scheme: "unix", Host: memberName}}
	return config.ServerConfig{
		Name:                        memberName,
		ClientURLs:                  nominal,
		PeerURLs:                    nominal,
		InitialPeerURLsMap:          types.URLsMap{memberName: nominal},
		InitialClusterToken:         clusterToken,
		NewCluster:                  true,
		DataDir:                     dir,
		Logger:                      log,
		SnapshotCount:               etcdserver.DefaultSnapshotCount,
		SnapshotCatchUpEntries:      etcdserver.DefaultSnapshotCatchUpEntries,
		MaxSnapFiles:                2,
		MaxWALFiles:                 2,
		TickMs:                      uint(tick / time.Millisecond),
		ElectionTicks:               electionTicks,
		InitialElectionTickAdvance:  true,
		PreVote:                     true,
		AutoCompactionMode:          "periodic",
		AutoCompactionRetention:     history,
		CompactHashCheckTime:        time.Minute,
		QuotaBackendBytes:           Quota,
		MaxTxnOps:                   MaxTxnOps,
		MaxRequestBytes:             MaxRequestBytes,
		MaxConcurrentStreams:        math.MaxUint32,
		WarningApplyDuration:        500 * time.Millisecond,
		WarningUnaryRequestDuration: time.Second,
		WatchProgressNotifyInterval: time.Minute,
		DowngradeCheckTime:          5 * time.Second,
		StrictReconfigCheck:         true,
		AuthToken:                   "", // no users: nobody but us can connect
		BcryptCost:                  10, // unused without users, but checked
		V2Deprecation:               config.V2DeprDefault,
		ServerFeatureGate:           features.NewDefaultServerFeatureGate(memberName, log),
		Metrics:                     "basic",
	}
}

// boot makes the server from the directory. etcd ends the process, or
// panics, on some damage; here both become an error.
func boot(dir string, log *zap.Logger, fatal *fatalHook) (*etcdserver.EtcdServer, error) {
	if err := checkDatabase(dir); err != nil {
		return nil, fmt.Errorf("open etcd data in %s: %w", dir, err)
	}
	type result struct {
		server *etcdserver.EtcdServer
		err    error
	}
	out := make(chan result, 1)
	go func() {
		res := result{}
		returned := false
		defer func() {
			if p := recover(); p != nil {
				res.err = fmt.Errorf("etcd panicked: %v\n%s", p, debug.Stack())
			} else if !returned {
				res.err = fatal.err() // the hook ended this goroutine
			}
			out <- res
		}()
		res.server, res.err = etcdserver.NewServer(serverConfig(dir, log))
		returned = true
	}()
	var res result
	select {
	case res = <-out:
	case <-fatal.done:
		// The goroutine that gave up may be one that boot waits for.
		res.err = fatal.err()
	}
	if res.err != nil {
		return nil, fmt.Errorf("open etcd data in %s: %w", dir, res.err)
	}
	return res.server, nil
}

// checkDatabase opens the database file for reading, if there is one: etcd
// would panic, in a goroutine of its own, over a damaged one.
func checkDatabase(dir string) error {
	file := datadir.ToBackendFileName(dir)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("the database %s cannot be read (restore a snapshot into another directory): %w", file, err)
	}
	return db.Close()
}
