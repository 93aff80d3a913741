import json
import logging

from colearn.network.logs import JsonLines, NodeContext


def line(context, **more):
    record = logging.makeLogRecord(
        {"name": "colearn.node", "levelno": 30, "levelname": "WARNING", "msg": "%s waits",
         "args": ("ada",), "created": 0.5, **more}
    )  # fmt: skip
    assert context.filter(record)
    return JsonLines().format(record)


def test_a_record_is_one_line_with_the_node_the_round_and_the_peer():
    context = NodeContext("ada")
    assert json.loads(line(context)) == {
        "time": "1970-01-01T00:00:00.500+00:00", "level": "warning", "logger": "colearn.node",
        "message": "ada waits", "node": "ada",
    }  # fmt: skip
    context.round_number, context.phase = 7, "vote"
    told = json.loads(line(context, peer="0xab"))
    assert (told["round"], told["phase"], told["peer"]) == (7, "vote", "0xab")
    assert json.loads(line(context, round=6))["round"] == 6


def test_text_of_others_stays_in_one_line():
    context = NodeContext("ada")
    text = line(context, msg="two\nlines %s", args=('"quoted"',))
    assert "\n" not in text
    assert json.loads(text)["message"] == 'two\nlines "quoted"'
