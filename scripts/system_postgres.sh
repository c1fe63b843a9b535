#!/bin/sh
# Prints the folder of the system's PostgreSQL 15 programs, the oldest version we support; installs Debian's package
# where it is missing and that is possible, and prints nothing where it is not.
programs=/usr/lib/postgresql/15/bin
if [ ! -x "$programs/postgres" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-15) >/dev/null 2>&1
fi
if [ -x "$programs/postgres" ]; then
    echo "$programs"
fi
