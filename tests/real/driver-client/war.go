package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

const (
	// How long the socket is fought over.
	defaultWarSeconds = 60
	// How long a stranger holds it at a time.
	strangerStays = 200 * time.Millisecond
)

// Waits until two more mounts have been answered: the first may have been under way before.
func (m *mounting) more() error {
	count := func() (int, error) {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		return m.mounts, errors.Join(m.failures...)
	}
	before, failures := count()
	for deadline := time.Now().Add(switchTimeout); time.Now().Before(deadline) && failures == nil; time.Sleep(time.Millisecond) {
		var now int
		if now, failures = count(); now > before+1 {
			return failures
		}
	}
	return errors.Join(failures, errors.New("no more mounts are answered"))
}

// For a minute somebody removes the socket, leaves a dead one in its place, or listens there for a moment, and one version
// of the provider follows another. Through a client that waits as the driver's does, no mount fails.
func war(w *world) error {
	seconds, err := strconv.Atoi(os.Getenv("WAR_SECONDS"))
	if err != nil {
		seconds = defaultWarSeconds
	}
	arena, err := w.arena("war")
	if err != nil {
		return err
	}
	defer arena.log.Close()
	socket, current := arena.socket, arena.version()
	if err := current.start(); err != nil {
		return err
	}
	mounts := &mounting{}
	end := arena.mountOverAndOver(mounts)
	stranger := func(stays time.Duration) error {
		os.Remove(socket)
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			return nil // the provider was faster
		}
		listener.SetUnlinkOnClose(false)
		time.Sleep(stays)
		return listener.Close()
	}
	attacks := []func() error{
		func() error {
			if err := os.Remove(socket); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		},
		func() error { return stranger(0) },
		func() error { return stranger(strangerStays) },
		func() error {
			next := arena.version()
			err := errors.Join(next.start(), current.stop())
			current = next
			return err
		},
	}
	began, count := time.Now(), 0
	for ; err == nil && time.Since(began) < time.Duration(seconds)*time.Second; count++ {
		if err = errors.Join(attacks[count%len(attacks)](), mounts.more()); err != nil {
			err = fmt.Errorf("attack %d: %w", count+1, err)
		}
	}
	end()
	err = errors.Join(err, current.stop())
	fmt.Printf("     %d attacks, %d mounts, %d failed, %.0f s\n", count, mounts.mounts, len(mounts.failures), time.Since(began).Seconds())
	return errors.Join(err, errors.Join(mounts.failures...))
}
