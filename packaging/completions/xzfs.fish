# fish completion for xzfs and xzfsctl. The programs say what may follow: PROGRAM --complete WORD...

function __xzfs_complete
    set -l before (commandline -opc)
    set -l program $before[1]
    set -e before[1]
    set -l current (commandline -ct)
    set -l answer ($program --complete $before "$current" 2>/dev/null)
    test (count $answer) -ge 2
    or return
    set -l kept $answer[1]
    set -l paths (string split ' ' -- $answer[2])[1]
    set -e answer[1..2]
    for line in $answer
        echo -- $kept$line
    end
    switch $paths
        case files
            __fish_complete_path "$current"
        case directories
            __fish_complete_directories "$current"
    end
end

for program in xzfs xzfsctl mount.xzfs mount.fuse.xzfs
    complete -c $program -f -a '(__xzfs_complete)'
end
