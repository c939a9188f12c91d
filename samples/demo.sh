#!/bin/sh
# The main job end to end, with the commands that a user would type. Usage: demo.sh FOLDER, with edgekit on the PATH.
set -eu

folder=$1
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
folder=$PWD

step() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

printf 'a trained model -> int8 -> a bundle -> a release on a board -> predictions -> latency; all of it in %s\n' "$folder"
step edgekit new belt --sample belt
step cd belt
step edgekit convert
step edgekit evaluate out/belt.tflite images/evaluation
step edgekit bundle
step edgekit deploy local:out/board
step python make_images.py --video belt.mp4
step edgekit demo --source file:belt.mp4 --save out/annotated.mp4
step edgekit bench --source file:belt.mp4 --duration 10 --html out/bench.html

printf '\n\033[1mdone.\033[0m Look at\n'
printf '  annotated video   %s\n' "$folder/belt/out/annotated.mp4"
printf '  bench report      %s\n' "$folder/belt/out/bench.html"
printf '  the board         %s\n' "$folder/belt/out/board"
printf '  the project       %s\n' "$folder/belt/edgekit.toml"
