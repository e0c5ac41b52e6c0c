// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxUnsigned bounds the answer to a call without a signature, in bytes.
const maxUnsigned = 1 << 20

// Unsigned makes a call that carries a proof of its own in the header, and
// needs no credentials. Answers and refusals are as those of Call.
func (c *Client) Unsigned(ctx context.Context, method, path string, header http.Header, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("call control plane: %w", err)
	}
	answer := &bounded{r: resp.Body, left: maxUnsigned + 1}
	text, err := io.ReadAll(answer)
	switch {
	case err != nil:
	case resp.StatusCode/100 != 2:
		err = refusal(resp, text)
	case out != nil:
		err = json.Unmarshal(text, out)
	}
	return errors.Join(err, resp.Body.Close())
}
