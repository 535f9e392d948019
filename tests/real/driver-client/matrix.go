package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"secretmount.dev/tests/driver-client/official"
)

func flatFiles(password string) files {
	found := classFiles(password)
	delete(found, "tls/key.pem")
	return found
}

// Somebody who makes the files of flatClass with the password that shop/db has.
type writer struct {
	name  string
	write func(*world, string, string) error
}

var (
	nobody      = writer{"nothing", func(*world, string, string) error { return nil }}
	theOfficial = writer{"the official provider", officialWrites}
	driver      = writer{"the driver's writer", func(w *world, target, _ string) error { return w.driverMount(target, flatClass) }}
	ourLinks    = writer{"fileLayout: atomic", func(w *world, target, _ string) error { return w.writes("atomic", target) }}
	ourPlain    = writer{"fileLayout: files", func(w *world, target, _ string) error { return w.writes("files", target) }}
	ourLeavings = writer{"a crash of ours", crash}
)

func (w *world) writes(layout, target string) error {
	w.layout = layout
	defer func() { w.layout = "" }()
	_, err := w.mount(w.providerWrites, target, flatClass)
	return err
}

func officialWrites(_ *world, target, password string) error {
	for name, file := range flatFiles(password) {
		if err := official.Write(target, name, file.mode, file.content); err != nil {
			return err
		}
	}
	return nil
}

// What is there when a process is killed in mid-write: half a set, a link, a record. Only this provider makes such names.
var leavings = []string{"..generation-0123456789abcdef", "..link-0123456789abcdef", "..secretmount-0123456789abcdef"}

func crash(w *world, target, password string) error {
	if err := ourLinks.write(w, target, password); err != nil {
		return err
	}
	paths := make([]string, len(leavings))
	for index, name := range leavings {
		paths[index] = filepath.Join(target, name)
	}
	return errors.Join(
		os.Mkdir(paths[0], 0o755), os.WriteFile(filepath.Join(paths[0], "password"), []byte("ha"), 0o600),
		os.Symlink("..data/password", paths[1]), os.WriteFile(paths[2], []byte("ha"), 0o600),
	)
}

// Whoever wrote a volume before, and whoever writes it next: right content, and nobody who reads by name meets a gap. Then
// the official provider writes on top, and the next of ours after it.
//
// The driver's writer removes plain files before it makes its links, which is a gap. Where the set that it wrote last lies
// beside them, and is the one to write, it then makes none: so it is not made to come back after the official provider.
func matrix(w *world) error {
	var failures error
	cells := 0
	for _, before := range []writer{nobody, theOfficial, driver, ourLinks, ourPlain, ourLeavings} {
		for _, next := range []writer{ourLinks, ourPlain, driver} {
			if err := cell(w, before, next); err != nil {
				failures = errors.Join(failures, fmt.Errorf("%s, then %s: %w", before.name, next.name, err))
			}
			cells++
		}
	}
	fmt.Printf("     %d ways from one writer to another\n", cells)
	return errors.Join(failures, plainToDriver(w))
}

// From our plain files to the driver's writer, with the same set all the time: by way of our links there is no gap, and at once
// all names are there again, though the links of before have left their set.
func plainToDriver(w *world) error {
	if err := w.put("shop/db", database(first)); err != nil {
		return err
	}
	for _, way := range [][]writer{
		{ourPlain, ourLinks, driver, driver},
		{ourLinks, ourPlain, driver, driver},
		{driver, ourPlain, driver, ourLinks},
	} {
		target, err := w.publish()
		if err != nil {
			return err
		}
		for place, step := range way {
			write := func() error { return step.write(w, target, first) }
			// The driver's writer takes plain files away first.
			isGap := place > 0 && step.name == driver.name && way[place-1].name == ourPlain.name
			if place > 0 && !isGap {
				err = readable(target, write)
			} else {
				err = write()
			}
			if err := errors.Join(err, filesIn(target, flatFiles(first))); err != nil {
				return fmt.Errorf("%s, step %d: %s: %w", way[0].name, place+1, step.name, err)
			}
		}
	}
	return nil
}

func cell(w *world, before, next writer) error {
	if err := w.put("shop/db", database(first)); err != nil {
		return err
	}
	target, err := w.publish()
	if err != nil {
		return err
	}
	if err := before.write(w, target, first); err != nil {
		return err
	}
	changes := []struct {
		writer
		password string
	}{{next, second}, {theOfficial, first}, {next, second}}
	if next.name == driver.name {
		changes = changes[:2]
	}
	for _, change := range changes {
		if err := w.put("shop/db", database(change.password)); err != nil {
			return err
		}
		write := func() error { return change.write(w, target, change.password) }
		found, failure := os.Lstat(filepath.Join(target, "password"))
		if failure == nil && (change.name != driver.name || found.Mode()&os.ModeSymlink != 0) {
			err = readable(target, write)
		} else {
			err = write()
		}
		if err := errors.Join(err, filesIn(target, flatFiles(change.password))); err != nil {
			return fmt.Errorf("%s: %w", change.name, err)
		}
	}
	if next.name == driver.name {
		return nil
	}
	entries, err := os.ReadDir(target)
	for _, entry := range entries {
		if slices.Contains(leavings, entry.Name()) {
			err = errors.Join(err, fmt.Errorf("%s is left over", entry.Name()))
		}
	}
	return err
}
