// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

// The types below are SPDX 2.3's, as far as a Go binary needs it: https://spdx.github.io/spdx-spec/v2.3/

type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicence   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID               string         `json:"SPDXID"`
	Name             string         `json:"name"`
	Version          string         `json:"versionInfo,omitempty"`
	Location         string         `json:"downloadLocation"`
	FilesAnalyzed    bool           `json:"filesAnalyzed"`
	LicenceConcluded string         `json:"licenseConcluded"`
	LicenceDeclared  string         `json:"licenseDeclared"`
	Copyright        string         `json:"copyrightText"`
	Purpose          string         `json:"primaryPackagePurpose,omitempty"`
	Checksums        []spdxChecksum `json:"checksums,omitempty"`
	References       []spdxRef      `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const (
	noAssertion = "NOASSERTION"
	documentID  = "SPDXRef-DOCUMENT"
)

// writeSBOM writes the bill of what a binary links, as the Go linker recorded it in the binary.
func writeSBOM(file, binary, image string, at time.Time) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	program, err := os.ReadFile(binary) //nolint:gosec // the user names the file
	if err != nil {
		return err
	}
	sum := sha256.Sum256(program)
	text, err := json.MarshalIndent(billOf(info, filepath.Base(binary), image, hex.EncodeToString(sum[:]), at), "", "  ")
	if err != nil {
		return err
	}
	return replace(file, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

func billOf(info *debug.BuildInfo, binary, image, sum string, at time.Time) spdxDocument {
	main := newPackage("SPDXRef-Binary", binary, imageTag(image))
	main.LicenceDeclared, main.Purpose = "Apache-2.0", "APPLICATION"
	main.Checksums = []spdxChecksum{{"SHA256", sum}}
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicence: "CC0-1.0", ID: documentID, Name: image,
		Namespace:     "https://podid.dev/spdx/" + binary + "/" + sum,
		Creation:      spdxCreation{at.Format(time.RFC3339), []string{"Organization: The podid Authors", "Tool: podid-images"}},
		Packages:      []spdxPackage{main},
		Relationships: []spdxRelationship{{documentID, "DESCRIBES", main.ID}},
	}
	add := func(p spdxPackage) {
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, spdxRelationship{main.ID, "CONTAINS", p.ID})
	}
	toolchain, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	std := newPackage("SPDXRef-Go", "stdlib", toolchain)
	std.LicenceDeclared = "BSD-3-Clause"
	std.References = []spdxRef{packageURL("pkg:golang/stdlib@" + toolchain)}
	add(std)
	for _, dep := range info.Deps {
		for dep.Replace != nil {
			dep = dep.Replace
		}
		p := newPackage("SPDXRef-"+idText(dep.Path+"-"+dep.Version), dep.Path, dep.Version)
		p.Location = "https://proxy.golang.org/" + dep.Path + "/@v/" + dep.Version + ".zip"
		p.References = []spdxRef{packageURL("pkg:golang/" + dep.Path + "@" + dep.Version)}
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(dep.Sum, "h1:")); err == nil && len(raw) == sha256.Size {
			// Go's sum is of the module's files and not of the archive: it is told as what it is.
			p.References = append(p.References, spdxRef{"OTHER", "go-module-h1", dep.Sum})
		}
		add(p)
	}
	return doc
}

func newPackage(id, name, version string) spdxPackage {
	return spdxPackage{
		ID: id, Name: name, Version: version, Location: noAssertion,
		LicenceConcluded: noAssertion, LicenceDeclared: noAssertion, Copyright: noAssertion,
	}
}

func packageURL(url string) spdxRef { return spdxRef{"PACKAGE-MANAGER", "purl", url} }

// notID is what an SPDX identifier may not have.
var notID = regexp.MustCompile(`[^A-Za-z0-9.-]`)

// idText makes a text an SPDX identifier; two texts never give the same one.
func idText(s string) string {
	return notID.ReplaceAllStringFunc(s, func(c string) string { return fmt.Sprintf("-%x-", c) })
}

// imageTag is the part behind the last colon.
func imageTag(image string) string { return image[strings.LastIndexByte(image, ':')+1:] }
