// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Offer is the socket at which the agent that serves waits for its successor.
type Offer struct {
	listener *net.UnixListener
	log      *slog.Logger
}

// Listen opens the socket in the folder, in the place of one that was there.
func Listen(folder string, log *slog.Logger) (*Offer, error) {
	if err := Folder(folder); err != nil {
		return nil, err
	}
	// A name of its own first: the one that is asked at never is a socket on which nobody listens yet.
	own := filepath.Join(folder, strconv.Itoa(os.Getpid())+"."+strconv.FormatInt(time.Now().UnixNano(), 36))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("offer a hand-over: %w", err)
	}
	listener.SetUnlinkOnClose(false) // the name may be the successor's by then
	err = os.Chmod(own, 0o600)
	if err == nil {
		err = os.Rename(own, filepath.Join(folder, nameHere("agent", "sock")))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("offer a hand-over: %w", err), listener.Close(), os.Remove(own))
	}
	return &Offer{listener: listener, log: log}, nil
}

// Close ends the offer.
func (o *Offer) Close() error { return o.listener.Close() }

// Successor is a process that has taken over.
type Successor struct{ conn *net.UnixConn }

// Serve gives the parcel and the records, made anew each time, to whoever asks, until one says that it has taken over,
// and returns that one; nil when ctx has ended. Whoever does not take what it asked for changes nothing.
func (o *Offer) Serve(ctx context.Context, give func() (Parcel, iter.Seq[any])) (*Successor, error) {
	stop := context.AfterFunc(ctx, func() { _ = o.listener.Close() }) // ends Accept
	defer stop()
	for {
		conn, err := o.listener.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				err = conn.Close()
			} else {
				err = nil
			}
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("wait for a successor: %w", err)
		}
		if err := o.hand(conn, give); err != nil {
			o.log.WarnContext(ctx, "a hand-over came to nothing; this process goes on", slog.String("err", errors.Join(err, conn.Close()).Error()))
			continue
		}
		return &Successor{conn}, nil
	}
}

func (o *Offer) hand(conn *net.UnixConn, give func() (Parcel, iter.Seq[any])) error {
	if err := sameUser(conn); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	text, err := readFrame(conn)
	if err != nil {
		return fmt.Errorf("read the successor's version: %w", err)
	}
	var hello helloJSON
	if err := json.Unmarshal(text, &hello); err != nil || hello.Version != version {
		no, err := json.Marshal(headerJSON{Version: version, Error: fmt.Sprintf("version %d is not known here", hello.Version)})
		return errors.Join(fmt.Errorf("the successor speaks version %d, this one %d", hello.Version, version), err, writeFrame(conn, no))
	}
	parcel, records := give()
	if err := writeParcel(conn, parcel); err != nil {
		return fmt.Errorf("give sockets: %w", err)
	}
	for r := range records {
		text, err := json.Marshal(r)
		if err == nil {
			err = writeFrame(conn, text)
		}
		if err != nil {
			return fmt.Errorf("give records: %w", err)
		}
	}
	if err := writeFrame(conn, nil); err != nil {
		return fmt.Errorf("give records: %w", err)
	}
	var word [1]byte
	if _, err := io.ReadFull(conn, word[:]); err != nil || word[0] != taken {
		return fmt.Errorf("the successor does not take over: %w", errors.Join(err, errNotTaken))
	}
	return conn.SetDeadline(time.Time{})
}

var errNotTaken = errors.New("not taken")

// writeParcel sends the header with the descriptors.
func writeParcel(conn *net.UnixConn, p Parcel) error {
	h := headerJSON{Version: version, Cluster: p.Cluster, Key: p.Key, FeedUID: p.FeedUID, FeedRevision: p.FeedRevision}
	var fds []int
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close() // a duplicate
		}
	}()
	for name, socket := range p.Sockets {
		file, err := socket.File()
		if err != nil {
			return err
		}
		files, h.Sockets = append(files, file), append(h.Sockets, name)
		raw, err := file.SyscallConn() // Fd would make the socket a blocking one, here as well
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			return err
		}
	}
	if len(fds) > maxSockets {
		return fmt.Errorf("%d sockets are too many", len(fds))
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	n, oobn, err := conn.WriteMsgUnix(frame, unix.UnixRights(fds...), nil)
	if err != nil || oobn == 0 {
		return errors.Join(errors.New("descriptors were not sent"), err)
	}
	_, err = conn.Write(frame[n:])
	return err
}

// Lost waits until the successor has ended or let go, which is true, or ctx has.
func (s *Successor) Lost(ctx context.Context) bool {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer s.conn.Close() //nolint:errcheck // nothing is written to it
	_, _ = io.Copy(io.Discard, s.conn)
	return ctx.Err() == nil
}
