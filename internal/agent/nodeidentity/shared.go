// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeidentity

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// rereadAfter is how long credentials of the shared file are believed, as in AWS' agent.
const rereadAfter = time.Minute

// sharedFile is an aws.CredentialsProvider.
type sharedFile struct {
	path string
	now  func() time.Time
}

// NewSharedFile returns a provider that reads profile default of a shared credentials file anew every minute, for nodes
// on which something else rotates that file. An empty path means the SDK's own place. A nil clock means time.Now.
func NewSharedFile(path string, now func() time.Time) *aws.CredentialsCache {
	if now == nil {
		now = time.Now
	}
	return aws.NewCredentialsCache(&sharedFile{path: path, now: now})
}

// Retrieve reads the file.
func (s *sharedFile) Retrieve(ctx context.Context) (aws.Credentials, error) {
	profile, err := config.LoadSharedConfigProfile(ctx, "default", func(o *config.LoadSharedConfigOptions) {
		if s.path != "" {
			o.CredentialsFiles = []string{s.path}
		}
		o.ConfigFiles = []string{}
	})
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("read shared credentials: %w", err)
	}
	creds := profile.Credentials
	if !creds.HasKeys() {
		return aws.Credentials{}, fmt.Errorf("read shared credentials: profile default has no access key")
	}
	creds.CanExpire, creds.Expires = true, s.now().Add(rereadAfter)
	return creds, nil
}
