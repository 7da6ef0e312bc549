package main

// The announcements, in plain Go: no cgo here, so `go test` needs no C compiler.
//
// The announcements travel inside the library. A branch computer gets one file
// to install and to check, and no folder of texts beside it that may be missing
// or changed.

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"text/template"
)

// What can go wrong. exports.go gives each of them its code from notice.h.
var (
	errNotInitialised = errors.New("not initialised: call Notice_Init first")
	errBadArgument    = errors.New("bad argument")
	errTooSmall       = errors.New("buffer too small")
)

// A file's name begins with the day it was announced: 2026-03-14-….txt.
//
//go:embed templates/*.txt
var templates embed.FS

const dateLength = len("2006-01-02")

// A branch's name is printed in every announcement. Nothing that could add a
// line to one, such as a newline, is allowed in.
var branchName = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)

// A service hands out announcements to one branch. Its zero value is ready to
// be opened, and all of its methods may be called from any thread.
type service struct {
	mu     sync.Mutex
	branch string // empty: not open
	failed string // the message of the last error
}

func (s *service) open(branch string) error {
	if !branchName.MatchString(branch) {
		return fmt.Errorf("%w: a branch is 1 to 32 letters, digits and hyphens, not %.40q",
			errBadArgument, branch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.branch = branch
	return nil
}

func (s *service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.branch, s.failed = "", ""
}

// latest renders the newest announcement.
func (s *service) latest() (string, error) {
	s.mu.Lock()
	branch := s.branch
	s.mu.Unlock()
	if branch == "" {
		return "", errNotInitialised
	}
	return render(templates, branch)
}

// remember keeps an error's message for lastError, whole characters of it and
// no more bytes than notice.h says.
func (s *service) remember(err error) {
	message := err.Error()
	message = strings.ToValidUTF8(message[:min(len(message), 200)], "")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = message
}

func (s *service) lastError() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// render fills in the newest of the announcements in files.
func render(files fs.FS, branch string) (string, error) {
	names, err := fs.Glob(files, "templates/*.txt") // sorted, so the newest is last
	if err != nil || len(names) == 0 {
		return "", errors.New("no announcements in this library")
	}
	newest := names[len(names)-1]
	announcement, err := template.ParseFS(files, newest)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	err = announcement.Execute(&text, struct{ Branch, Date string }{
		Branch: branch,
		Date:   newest[len("templates/"):][:dateLength],
	})
	return text.String(), err
}

// fill copies text and a zero byte to buf, or nothing at all if they don't fit.
func fill(buf []byte, text string) (int, error) {
	if len(text) >= len(buf) {
		return 0, fmt.Errorf("%w: it has %d bytes, the text needs %d",
			errTooSmall, len(buf), len(text)+1)
	}
	buf[copy(buf, text)] = 0
	return len(text), nil
}
