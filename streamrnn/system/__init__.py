"""What is asked of the operating system? Files and child processes, and nothing is believed of either unseen.

reading      opens what is read: regular files only, of a size that was asked for beforehand
memory       how much of it there is, for this process
writing      writes a file so that a crash leaves the old one or the new one, and for those it is meant for
side_by_side  does one thing to many, by several threads
documents    JSON that somebody may have made up, as plain data of a bounded depth
trusted      directories that nobody else can write to, from the root down
import_path  what the command imports from, wherever it was started
child        starts Python with this very package and nothing of the working directory
"""
