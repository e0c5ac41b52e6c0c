// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"podid/internal/cli/clients"
)

// profileRE is what a profile may be called without quotes.
var profileRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}$`)

// credentialsFile is an AWS shared credentials file that a profile is to be
// added to. It is opened before the key is made: a key that cannot be kept must
// not be made.
type credentialsFile struct {
	path, profile string
	file          *os.File
	made, midLine bool
}

// openCredentialsFile opens the file for a profile that it must not have yet,
// and makes it, for its owner alone, if it is not there. It refuses a file that
// others may read.
func openCredentialsFile(path, profile string) (_ *credentialsFile, err error) {
	if !profileRE.MatchString(profile) {
		return nil, usagef("--credentials-profile: %q is not a name of letters, digits and _.@-", profile)
	}
	c := &credentialsFile{path: path, profile: profile}
	c.file, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if c.made = err == nil; errors.Is(err, fs.ErrExist) {
		c.file, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open the credentials file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.file.Close())
		}
	}()
	info, err := c.file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("open the credentials file: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the credentials file %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("the credentials file %s can be read or written by others (mode %04o): chmod 600 it, or give another --credentials-file", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(c.file)
	if err != nil {
		return nil, fmt.Errorf("read the credentials file: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "["); ok && strings.TrimSpace(strings.TrimSuffix(name, "]")) == profile {
			return nil, fmt.Errorf("the credentials file %s has a profile %s already: give another --credentials-profile or --credentials-file", path, profile)
		}
	}
	c.midLine = len(text) > 0 && text[len(text)-1] != '\n'
	return c, nil
}

// write adds the profile and closes the file.
func (c *credentialsFile) write(keyID string, key clients.SecretString, region string) error {
	lead := ""
	switch {
	case c.midLine:
		lead = "\n\n"
	case !c.made:
		lead = "\n"
	}
	_, err := fmt.Fprintf(c.file, "%s[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\nregion = %s\n", lead, c.profile, keyID, string(key), region)
	if err = errors.Join(err, c.file.Sync(), c.file.Close()); err != nil {
		return fmt.Errorf("write the credentials file: %w", err)
	}
	return nil
}

// giveUp closes the file, and removes it if it was made for nothing.
func (c *credentialsFile) giveUp() error {
	err := c.file.Close()
	if c.made {
		err = errors.Join(err, os.Remove(c.path))
	}
	return err
}
