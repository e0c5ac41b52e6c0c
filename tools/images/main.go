// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command images puts podid's static binaries into container images, without a registry and without a container engine.
//
// For each binary and platform it writes NAME-linux-ARCH.tar, which `docker load` and `ctr -n k8s.io images import` take, and
// NAME-linux-ARCH.spdx.json, the bill of what is linked; for each binary NAME.oci.tar, an OCI layout with all platforms to copy
// to a registry. The same binaries and time give the same bytes. It refuses a binary that is for another platform than said,
// and one that is not static: in an image from scratch nothing else is there to run it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// options say what to build, from where and to where.
type options struct {
	bin, out   string   // bin has GOOS-GOARCH/NAME
	names      []string // binaries
	platforms  []platform
	repository string // what an image's name begins with, without the binary's
	tag        string
	source     string // URL of the project
	version    string
	commit     string
	created    time.Time
}

// A platform is an operating system and an architecture, by Go's names, which are OCI's.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "-" + p.arch }

func parsePlatforms(text string) ([]platform, error) {
	var out []platform
	for _, word := range strings.Fields(strings.ReplaceAll(text, ",", " ")) {
		system, arch, ok := strings.Cut(word, "/")
		if !ok || system != "linux" || arch == "" || strings.ContainsAny(arch, `/\.`) {
			return nil, fmt.Errorf("platform %q: want linux/ARCH", word)
		}
		out = append(out, platform{system, arch})
	}
	if len(out) == 0 {
		return nil, errors.New("no platform")
	}
	return out, nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var o options
	var platforms string
	var created int64
	f := flag.NewFlagSet("images", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "", "directory with GOOS-GOARCH/NAME")
	f.StringVar(&o.out, "out", "", "directory to write to")
	f.StringVar(&platforms, "platforms", "linux/amd64", "platforms, separated by spaces or commas")
	f.StringVar(&o.repository, "repository", "", "what the images' names begin with, such as registry.example/team")
	f.StringVar(&o.tag, "tag", "", "tag of the images")
	f.StringVar(&o.source, "source", "https://podid.dev", "label org.opencontainers.image.source")
	f.StringVar(&o.version, "version", "", "label org.opencontainers.image.version")
	f.StringVar(&o.commit, "commit", "", "label org.opencontainers.image.revision")
	f.Int64Var(&created, "created", 0, "time of all files and of the images, in seconds since 1970")
	if err := f.Parse(args); err != nil {
		return err
	}
	o.names, o.created = f.Args(), time.Unix(created, 0).UTC()
	var err error
	if o.platforms, err = parsePlatforms(platforms); err != nil {
		return err
	}
	for what, value := range map[string]string{"-bin": o.bin, "-out": o.out, "-repository": o.repository, "-tag": o.tag, "NAME": strings.Join(o.names, "")} {
		if value == "" {
			return fmt.Errorf("%s is missing", what)
		}
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil { //nolint:gosec // images are no secret
		return err
	}
	for _, name := range o.names {
		if err := build(&o, name); err != nil {
			return fmt.Errorf("image of %s: %w", name, err)
		}
	}
	return nil
}

// build writes everything of one binary.
func build(o *options, name string) error {
	ref, err := reference(o, name)
	if err != nil {
		return err
	}
	var images []platformImage
	for _, p := range o.platforms {
		file := filepath.Join(o.bin, p.String(), name)
		img, err := newImage(o, name, p, file)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		base := filepath.Join(o.out, name+"-"+p.String())
		if err := writeArchive(base+".tar", ref, img); err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
		if err := writeSBOM(base+".spdx.json", file, ref.String(), o.created); err != nil {
			return fmt.Errorf("write bill of materials: %w", err)
		}
		fmt.Printf("%s.tar: %s\n", base, ref)
		images = append(images, platformImage{p, img})
	}
	layout := filepath.Join(o.out, name+".oci.tar")
	if err := writeLayout(layout, ref, images, o.created); err != nil {
		return fmt.Errorf("write OCI layout: %w", err)
	}
	fmt.Printf("%s: %s for %v\n", layout, ref, o.platforms)
	return nil
}
