// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package nodesign shows at the agent's own Node whether the agent can serve: it removes the startup taint, so that no pod
// is placed on a node that could not give it credentials yet, and keeps a condition.
//
// It owns that taint and that condition and writes nothing else; an admission policy holds the agent's account to it. It
// never adds the taint: a node whose agent fails later keeps its pods. It refuses to remove a taint that is not the one it
// read, and tries again. In the flow it stands beside the agent, above kubeapi.
package nodesign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"podid/internal/agent/kubeapi"
	"podid/internal/agent/pace"
)

const (
	// Taint is the key of the startup taint; its effect is for whoever registers nodes with it to choose.
	Taint = "podid.dev/agent-not-ready"
	// Condition is the type of the node's condition.
	Condition = "PodIdentityAgentReady"
)

// Reasons of the condition.
const (
	ReasonServing = "Serving"
	ReasonCached  = "ServingFromCache"
	ReasonNot     = "NotServing"
	ReasonStopped = "Stopped"
)

const (
	// calmInterval is between two looks while all is well, eagerInterval while it is not.
	calmInterval  = time.Minute
	eagerInterval = 2 * time.Second
	// heartbeat is the age at which a condition is written again although it says the same.
	heartbeat      = 5 * time.Minute
	forbiddenPause = 10 * time.Minute
	callTime       = 10 * time.Second
	stopTime       = 3 * time.Second
	maxTries       = 5
	maxNodeBytes   = 4 << 20
	maxMessage     = 512
)

// API makes calls; kubeapi.Client is one.
type API interface {
	Do(ctx context.Context, in kubeapi.Request) (*http.Response, error)
}

// State is what the node shows.
type State struct {
	Ready           bool
	Reason, Message string
}

// Config of a Sign. API, Node, State and Log are required.
type Config struct {
	API  API
	Node string // this node's name
	// State tells whether the agent can serve now.
	State func(ctx context.Context) State
	// Succeeded tells at the end whether another process serves instead; nil: none does.
	Succeeded func() bool
	Log       *slog.Logger
	// Following, when set, is told whether the node shows what it should.
	Following func(bool)
	// Now is the clock of the condition's times; nil means time.Now. Rand spreads looks; nil: they are not spread.
	Now  func() time.Time
	Rand io.Reader
}

// Sign works while Run runs.
type Sign struct {
	cfg  Config
	told string // the trouble that was logged last
}

// New checks the configuration.
func New(cfg Config) (*Sign, error) {
	if cfg.API == nil || cfg.Node == "" || cfg.State == nil || cfg.Log == nil {
		return nil, errors.New("sign at the node: API, node, state and log are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sign{cfg: cfg}, nil
}

// Run keeps the node's condition until ctx ends, whatever fails, and says there that the agent stopped unless another
// process serves instead.
func (s *Sign) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		state := s.cfg.State(ctx)
		err := s.show(ctx, state)
		if ctx.Err() != nil {
			break
		}
		s.tell(ctx, err)
		pause := calmInterval
		switch {
		case kubeapi.IsStatus(err, http.StatusForbidden):
			pause = forbiddenPause
		case err != nil:
			pause = calmInterval / 4
		case !state.Ready:
			pause = eagerInterval
		}
		if !pace.Sleep(ctx, pause+time.Duration(pace.Chance(s.cfg.Rand)*float64(pause)/4)) {
			break
		}
	}
	if s.cfg.Succeeded != nil && s.cfg.Succeeded() {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := s.show(last, State{Reason: ReasonStopped, Message: "the agent has stopped"}); err != nil {
		s.cfg.Log.DebugContext(ctx, "say at the node that the agent has stopped", slog.String("err", err.Error()))
	}
	return nil
}

// node is what is read of a Node.
type node struct {
	Spec struct {
		Taints []struct {
			Key    string `json:"key"`
			Effect string `json:"effect"`
		} `json:"taints"`
	} `json:"spec"`
	Status struct {
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

type condition struct {
	Type               string    `json:"type"`
	Status             string    `json:"status"`
	Reason             string    `json:"reason"`
	Message            string    `json:"message"`
	LastHeartbeatTime  time.Time `json:"lastHeartbeatTime"`
	LastTransitionTime time.Time `json:"lastTransitionTime"`
}

// show brings condition and taint in line with the state. The condition comes first: who waits for the taint to go finds
// the reason there.
func (s *Sign) show(ctx context.Context, state State) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var err error
	for range maxTries {
		var n node
		if n, err = s.read(ctx); err != nil {
			return err
		}
		if err = s.setCondition(ctx, n, state); err != nil {
			return err
		}
		if !state.Ready {
			return nil
		}
		err = s.removeTaint(ctx, n)
		// 422 is a test of the patch that failed: somebody changed the taints since they were read.
		if !kubeapi.IsStatus(err, http.StatusConflict) && !kubeapi.IsStatus(err, http.StatusUnprocessableEntity) {
			return err
		}
	}
	return err
}

func (s *Sign) path() string { return "/api/v1/nodes/" + url.PathEscape(s.cfg.Node) }

func (s *Sign) read(ctx context.Context) (n node, err error) {
	resp, err := s.cfg.API.Do(ctx, kubeapi.Request{Method: http.MethodGet, Path: s.path(), Query: url.Values{"resourceVersion": {"0"}}})
	if err != nil {
		return n, fmt.Errorf("read node: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxNodeBytes)).Decode(&n); err != nil {
		return n, fmt.Errorf("decode node: %w", err)
	}
	return n, nil
}

// setCondition merges one condition into the others, if it says something new.
func (s *Sign) setCondition(ctx context.Context, n node, state State) error {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	want := condition{
		Type: Condition, Status: "False", Reason: state.Reason, Message: cut(state.Message), LastHeartbeatTime: now, LastTransitionTime: now,
	}
	if state.Ready {
		want.Status = "True"
	}
	for _, have := range n.Status.Conditions {
		if have.Type != Condition || have.Status != want.Status {
			continue
		}
		want.LastTransitionTime = have.LastTransitionTime
		if have.Reason == want.Reason && have.Message == want.Message && now.Sub(have.LastHeartbeatTime) < heartbeat {
			return nil
		}
	}
	var patch struct {
		Status struct {
			Conditions []condition `json:"conditions"`
		} `json:"status"`
	}
	patch.Status.Conditions = []condition{want}
	if err := s.patch(ctx, s.path()+"/status", "application/strategic-merge-patch+json", patch); err != nil {
		return fmt.Errorf("set the node's condition: %w", err)
	}
	return nil
}

type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value,omitempty"`
}

// removeTaint removes the taint in all its effects, the last first, so that the others keep their places.
func (s *Sign) removeTaint(ctx context.Context, n node) error {
	var ops []patchOp
	for i := len(n.Spec.Taints) - 1; i >= 0; i-- {
		if n.Spec.Taints[i].Key == Taint {
			path := "/spec/taints/" + strconv.Itoa(i)
			ops = append(ops, patchOp{"test", path + "/key", Taint}, patchOp{Op: "remove", Path: path})
		}
	}
	if ops == nil {
		return nil
	}
	if err := s.patch(ctx, s.path(), "application/json-patch+json", ops); err != nil {
		return fmt.Errorf("remove the startup taint: %w", err)
	}
	s.cfg.Log.InfoContext(ctx, "the agent can serve: startup taint removed", slog.String("node", s.cfg.Node))
	return nil
}

func (s *Sign) patch(ctx context.Context, path, kind string, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	resp, err := s.cfg.API.Do(ctx, kubeapi.Request{Method: http.MethodPatch, Path: path, ContentType: kind, Body: body})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxNodeBytes)) // so that the connection can be used again
	return errors.Join(err, resp.Body.Close())
}

// tell logs a trouble once.
func (s *Sign) tell(ctx context.Context, err error) {
	if s.cfg.Following != nil {
		s.cfg.Following(err == nil)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.told {
		s.cfg.Log.WarnContext(ctx, "the node does not show whether the agent can serve; trying again", slog.String("node", s.cfg.Node), slog.String("err", text))
	}
	s.told = text
}

func cut(text string) string {
	if len(text) > maxMessage {
		return text[:maxMessage]
	}
	return text
}
