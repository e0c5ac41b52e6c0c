// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
	"podid/internal/cli/undofile"
)

// Run carries a plan out, a line at a time, and says in each line what came of
// it. A line whose change fails takes along those that need it. An interrupt
// and an undo file that cannot be written end the run between two changes; the
// error says so. told is called after each line; it may be nil.
func Run(ctx context.Context, c *clients.Clients, p *Plan, j *undofile.File, told func(*Line)) error {
	p.Approved, p.Undo = true, j.Name
	var stop error
	for _, l := range p.Lines {
		if !l.Pending() {
			continue
		}
		if stop == nil {
			stop = ctx.Err()
		}
		switch missing := l.missing(); {
		case stop != nil:
			l.Result, l.Err = NotDone, stop
		case missing != nil:
			l.Result, l.Err = NotDone, fmt.Errorf("%s %s was not made", missing.Kind, missing.Name)
		default:
			stop = l.run(ctx, c, j)
		}
		if told != nil {
			told(l)
		}
	}
	return stop
}

// missing is a line that this one needs and that is not done.
func (l *Line) missing() *Line {
	for _, n := range l.needs {
		if n.Action != Keep && n.Result != Done {
			return n
		}
	}
	return nil
}

// run makes one change. The error is a reason to stop altogether.
func (l *Line) run(ctx context.Context, c *clients.Clients, j *undofile.File) error {
	n, err := j.Intend(l.change.name(), l.change)
	if err != nil {
		l.Result, l.Err = NotDone, err
		return err
	}
	id, err := l.change.make(ctx, c)
	if err != nil {
		l.Result, l.Err = Failed, err
		if unchanged(err) {
			return j.Failed(n)
		}
		return nil
	}
	l.Result = Done
	return j.Made(n, id)
}

// unchanged reports whether an error says for certain that nothing was
// changed: it came before the call, or the service said no. A lost answer and
// a fault of the service leave that open.
func unchanged(err error) bool {
	var before *notMade
	var undone *setup.Undone
	var answer *awshttp.ResponseError
	switch {
	case errors.As(err, &undone):
		return len(undone.Left) == 0
	case errors.As(err, &before):
		return true
	}
	if !errors.As(err, &answer) {
		return false
	}
	status := answer.HTTPStatusCode() // 0 where no answer came
	return status >= http.StatusBadRequest && status < http.StatusInternalServerError
}

// TakeBack is the action of lines of an undo file.
const TakeBack Action = "take back"

// Revert takes back what an undo file says was done, newest first, and records
// that in the file, so that doing it again does nothing more. With dry, it only
// lists it. It refuses files of another import and of another account.
func Revert(ctx context.Context, c *clients.Clients, kind, name string, dry bool, told func(*Line)) (*Plan, error) {
	head, entries, err := undofile.Read(name)
	if err != nil {
		return nil, err
	}
	changes, err := changesOf(entries)
	if err != nil {
		return nil, fmt.Errorf("read undo file %s: %w", name, err)
	}
	if head.Import != kind {
		return nil, fmt.Errorf("%s is of podid import %s, not of podid import %s", name, head.Import, kind)
	}
	id, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("ask for the account: %w", err)
	}
	if got := aws.ToString(id.Account); got != head.Account {
		return nil, fmt.Errorf("%s is of account %s, and you call as account %s", name, head.Account, got)
	}
	p := &Plan{Import: kind, Target: Target{Account: head.Account, ClusterARN: head.ClusterARN}, Undo: name, Approved: !dry}
	for _, m := range changes {
		l := p.add(m.change.line())
		done := map[bool]string{true: "was", false: "may have been"}[m.id != ""]
		l.Why = "it " + done + " made"
		if l.Action == Extend {
			l.Why = "its trust policy " + done + " extended"
		}
		l.Action = TakeBack
	}
	if dry || len(changes) == 0 {
		return p, nil
	}
	return p, takeBack(ctx, c, p, changes, told)
}

func takeBack(ctx context.Context, c *clients.Clients, p *Plan, changes []made, told func(*Line)) (err error) {
	j, err := undofile.Append(p.Undo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	for i, m := range changes {
		l := p.Lines[i]
		if err := ctx.Err(); err != nil {
			l.Result, l.Err = NotDone, err
			continue
		}
		record := j.Undone
		switch err := m.change.undo(ctx, c, m.id); {
		case err == nil:
			l.Result = Done
		case errors.Is(err, errGone):
			l.Result, record = Gone, j.Gone
		default:
			l.Result, l.Err = Left, err
		}
		if told != nil {
			told(l)
		}
		if l.Result == Left {
			continue
		}
		if err := record(m.n); err != nil {
			return err
		}
	}
	return nil
}
