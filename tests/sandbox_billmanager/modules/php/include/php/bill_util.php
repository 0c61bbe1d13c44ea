<?php
// A small library in the style of the vendor's PHP one, with its fixed paths and its names.

$log_file = fopen("/usr/local/mgr5/var/" . __MODULE__ . ".log", "a");
$default_xml_string = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<doc/>\n";

function Debug($text) {
    global $log_file;
    fwrite($log_file, date("M j H:i:s") . " [" . getmypid() . "] " . __MODULE__ . " DEBUG " . $text . "\n");
}

function LocalQuery($function, $params, $auth = NULL) {
    $line = "/usr/local/mgr5/sbin/mgrctl -m billmgr -o xml " . escapeshellarg($function);
    foreach ($params as $name => $value) {
        $line .= " " . escapeshellarg($name) . "=" . escapeshellarg($value);
    }
    if (!is_null($auth)) {
        $line .= " auth=" . escapeshellarg($auth);
    }
    exec($line, $lines);
    return simplexml_load_string(implode("\n", $lines));
}

function CgiInput() {
    if ($_SERVER["REQUEST_METHOD"] == "POST") {
        $size = $_SERVER["CONTENT_LENGTH"] ?? 0;
        $size = $size == 0 ? $_SERVER["HTTP_CONTENT_LENGTH"] : $size;
        $input = fread(STDIN, (int) $size);
    } else {
        $input = $_SERVER["QUERY_STRING"];
    }
    parse_str($input, $params);
    if (empty($params["auth"])) {
        foreach (explode("; ", $_SERVER["HTTP_COOKIE"] ?? "") as $cookie) {
            $pair = explode("=", $cookie);
            if (count($pair) > 1 && $pair[0] == "billmgrses5") {
                $params["auth"] = explode(":", urldecode($pair[1]))[0];
            }
        }
    }
    return $params;
}

class BillException extends Exception {
    private $target;
    private $text;

    function __construct($message, $target = "", $text = "") {
        parent::__construct($message);
        $this->target = $target;
        $this->text = $text;
    }

    public function __toString(): string {
        global $default_xml_string;
        $document = simplexml_load_string($default_xml_string);
        $error = $document->addChild("error");
        $error->addAttribute("type", $this->getMessage());
        $error->addAttribute("object", $this->target);
        $param = $error->addChild("param", $this->target);
        $param->addAttribute("name", "object");
        $param->addAttribute("type", "msg");
        $error->addChild("param", $this->text)->addAttribute("name", "value");
        $error->addChild("param", "desck_empty")->addAttribute("name", "desc");
        return $document->asXML();
    }
}
