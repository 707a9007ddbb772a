#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: process_test.sh PROCESS_TEST LIBRARY VICTIM
exec "$PWD/$1" "$PWD/$2" "$PWD/$3"
