# Completion of xrdpipe for fish: xrdpipe completion fish | source
function __xrdpipe_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l lines (command $before[1] --complete fish -- $before[2..-1] "$word" 2>/dev/null)
    set -l paths (string split ' ' -- $lines[1])
    test (count $lines) -gt 1; and printf '%s\n' $lines[2..-1]
    test "$paths[1]" = none -o (count $paths) -lt 2; and return
    set -l prefix (string sub -l $paths[2] -- "$word")
    set -l path (string sub -s (math $paths[2] + 1) -- "$word")
    if test "$paths[1]" = folders
        __fish_complete_directories "$path" | string replace -r '^' -- "$prefix"
    else
        __fish_complete_path "$path" | string replace -r '^' -- "$prefix"
    end
end
complete -c xrdpipe -f -a '(__xrdpipe_complete)'
