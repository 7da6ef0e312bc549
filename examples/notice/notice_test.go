package main

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func TestTheNewestAnnouncementIsAddressedToTheBranch(t *testing.T) {
	var s service
	if err := s.open("branch-0042"); err != nil {
		t.Fatal(err)
	}
	text, err := s.latest()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text, "系统维护公告\n") || !strings.Contains(text, "2026-03-14  branch-0042\n") {
		t.Errorf("got %q", text)
	}
}

func TestNewestMeansTheLatestDateInTheName(t *testing.T) {
	files := fstest.MapFS{
		"templates/2026-01-02-new.txt": {Data: []byte("new {{.Date}} {{.Branch}}")},
		"templates/2025-12-31-old.txt": {Data: []byte("old")},
	}
	text, err := render(files, "b-1")
	if err != nil || text != "new 2026-01-02 b-1" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestEveryAnnouncementInTheLibraryRenders(t *testing.T) {
	files, err := templates.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := "templates/" + file.Name()
		data, err := templates.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render(fstest.MapFS{name: {Data: data}}, "b-1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABrokenAnnouncementIsAnErrorAndNotACrash(t *testing.T) {
	for _, text := range []string{"{{", "{{.Nobody}}"} {
		files := fstest.MapFS{"templates/2026-01-02-x.txt": {Data: []byte(text)}}
		if _, err := render(files, "b-1"); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	if _, err := render(fstest.MapFS{}, "b-1"); err == nil {
		t.Error("no announcements, and no error")
	}
}

func TestABranchNameCannotForgeLines(t *testing.T) {
	for _, branch := range []string{"", "a\nb", "a\n", "{{.Date}}", "支行", strings.Repeat("a", 33)} {
		var s service
		if err := s.open(branch); !errors.Is(err, errBadArgument) {
			t.Errorf("%q: %v", branch, err)
		}
		if _, err := s.latest(); !errors.Is(err, errNotInitialised) {
			t.Errorf("%q opened the service: %v", branch, err)
		}
	}
}

func TestOpeningTwiceChangesTheBranchAndAFailureKeepsIt(t *testing.T) {
	var s service
	_ = s.open("a-1")
	_ = s.open("b-2")
	_ = s.open("not a branch")
	if text, _ := s.latest(); !strings.Contains(text, "b-2") {
		t.Errorf("got %q", text)
	}
}

func TestClosingForgetsTheBranchAndTheError(t *testing.T) {
	var s service
	_ = s.open("a-1")
	s.remember(errTooSmall)
	s.close()
	s.close()
	if _, err := s.latest(); !errors.Is(err, errNotInitialised) {
		t.Errorf("got %v", err)
	}
	if message := s.lastError(); message != "" {
		t.Errorf("got %q", message)
	}
}

func TestAMessageIsNeverLongerThanTheHeaderSays(t *testing.T) {
	var s service
	s.remember(errors.New(strings.Repeat("告", 300)))
	if message := s.lastError(); message != strings.Repeat("告", 66) {
		t.Errorf("%d bytes: %q", len(message), message)
	}
}

func TestFillWritesAllOrNothing(t *testing.T) {
	const text = "公告" // 6 bytes, and a zero
	for size := 0; size < 9; size++ {
		memory := []byte("#########")
		n, err := fill(memory[:size:size], text)
		want := "#########"
		if size > len(text) {
			want = text + "\x00" + want[len(text)+1:]
		} else if !errors.Is(err, errTooSmall) || n != 0 {
			t.Errorf("size %d: %d, %v", size, n, err)
		}
		if string(memory) != want {
			t.Errorf("size %d: %q", size, memory)
		}
	}
}

func TestManyThreads(t *testing.T) {
	var s service
	_ = s.open("a-1")
	var done sync.WaitGroup
	for range [8]int{} {
		done.Add(1)
		go func() {
			defer done.Done()
			for range [1000]int{} {
				if _, err := s.latest(); err != nil {
					t.Error(err)
				}
				s.remember(errTooSmall)
				_ = s.lastError()
				_ = s.open("b-2")
			}
		}()
	}
	done.Wait()
}
