<?php

function config($script) {
    $config = simplexml_load_string("<doc/>");
    $config->addChild("feature")->addChild("redirect", "on");
    $config->addChild("param")->addChild("payment_script", $script);
    return $config->asXML();
}
