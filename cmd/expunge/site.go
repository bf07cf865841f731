package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/expunge-dev/expunge/attest/render"
)

// siteFile is the letterhead of those who hand certificates out.
type siteFile struct {
	Name    string   `yaml:"name"`
	Address []string `yaml:"address"`
	Logo    string   `yaml:"logo"` // a PNG; its path begins at the file's directory
}

const (
	siteName    = "site.yaml" // in the state directory
	maxSiteFile = 16 << 10
)

// site reads the letterhead that was asked for, or the one of the state; without either there is
// none.
func (a *app) site(name string) (render.Site, error) {
	if name == "" {
		dir, err := a.stateDir()
		if err != nil {
			return render.Site{}, err
		}
		name = filepath.Join(dir, siteName)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return render.Site{}, nil
		}
	}
	s, err := loadSite(name)
	if err != nil {
		return render.Site{}, usage("name, address (a list of lines) and logo (a PNG file) are what it may have", fmt.Errorf("site %s: %w", name, err))
	}
	return s, nil
}

func loadSite(name string) (render.Site, error) {
	data, err := readSmall(name, maxSiteFile)
	if err != nil {
		return render.Site{}, err
	}
	var document, more yaml.Node
	read := yaml.NewDecoder(bytes.NewReader(data))
	if err := read.Decode(&document); err != nil {
		return render.Site{}, fmt.Errorf("read YAML: %w", err)
	}
	if err := read.Decode(&more); !errors.Is(err, io.EOF) {
		return render.Site{}, errors.New("there is more than one document")
	}
	if indirect(&document) {
		return render.Site{}, errors.New("anchors, aliases and tags are not used here: write it out")
	}
	var s siteFile
	words := yaml.NewDecoder(bytes.NewReader(data))
	words.KnownFields(true)
	if err := words.Decode(&s); err != nil {
		return render.Site{}, err
	}
	var logo []byte
	if s.Logo != "" {
		picture := s.Logo
		if !filepath.IsAbs(picture) {
			picture = filepath.Join(filepath.Dir(name), picture)
		}
		if logo, err = readSmall(picture, render.MaxLogo); err != nil {
			return render.Site{}, err
		}
	}
	return render.NewSite(s.Name, s.Address, logo)
}

// indirect says whether a part of the file stands for another.
func indirect(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Tag == "!!merge" || n.Style&yaml.TaggedStyle != 0 {
		return true
	}
	for _, c := range n.Content {
		if indirect(c) {
			return true
		}
	}
	return false
}

// readSmall reads a file that is one, and not a device or a pipe, and no larger than it may be.
func readSmall(name string, most int64) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", name)
	case info.Size() > most:
		return nil, fmt.Errorf("%s has %d bytes, at most %d", name, info.Size(), most)
	}
	return os.ReadFile(name)
}
